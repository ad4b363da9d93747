-- The order is kstatus': what was not seen yet, what goes on, what is stuck, what is done.
-- Held and finished claims are Healthy: they are as their spec asks for.
local hs = { status = "Progressing", message = "Waiting for the operator" }
if obj.status == nil or obj.status.conditions == nil then
  return hs
end
if obj.status.observedGeneration ~= obj.metadata.generation then
  return hs
end

local conditions = {}
for _, condition in ipairs(obj.status.conditions) do
  conditions[condition.type] = condition
end

local function is(name)
  return conditions[name] ~= nil and conditions[name].status == "True"
end

if is("Reconciling") then
  hs.message = conditions.Reconciling.message
elseif is("Stalled") then
  hs.status = "Degraded"
  hs.message = conditions.Stalled.message
elseif is("Ready") then
  hs.status = "Healthy"
  hs.message = conditions.Ready.message
end
return hs
