-- One request after another of wrk: which model it is for, and what wrk has seen at the end.
local path = os.getenv("BENCH_PATH")          -- with %s for the model's name
local models = tonumber(os.getenv("BENCH_MODELS"))
local prefix = os.getenv("BENCH_PREFIX")      -- of the models' names
local pick = os.getenv("BENCH_PICK")          -- turns or zipf
local file = io.open(os.getenv("BENCH_BODY"), "rb")
local body = file:read("*a")
file:close()

local headers = {["Host"] = "localhost"}
for name, value in string.gmatch(os.getenv("BENCH_HEADERS"), "([^:\n]+): ([^\n]+)") do
   headers[name] = value
end
local requests, weights = {}, {}

function init(args)
   local total = 0
   for n = 0, models - 1 do
      requests[n] = wrk.format("POST", string.format(path, prefix .. n), headers, body)
      total = total + 1 / (n + 1) ^ 1.1
      weights[n] = total
   end
   math.randomseed(1)
end

local turn = 0
function request()
   if pick == "turns" then
      turn = (turn + 1) % models
      return requests[turn]
   end
   local wanted = math.random() * weights[models - 1]
   local low, high = 0, models - 1
   while low < high do
      local middle = math.floor((low + high) / 2)
      if weights[middle] < wanted then low = middle + 1 else high = middle end
   end
   return requests[low]
end

function done(summary, latency, requests)
   local e = summary.errors
   io.write(string.format(
      'RESULT {"requests": %d, "seconds": %f, "errors": %d, "median": %f, "p90": %f, "p99": %f}\n',
      summary.requests, summary.duration / 1e6,
      e.connect + e.read + e.write + e.status + e.timeout,
      latency:percentile(50) / 1e3, latency:percentile(90) / 1e3, latency:percentile(99) / 1e3))
end
