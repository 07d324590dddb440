-- 2000 requests with nine headers, of which path, x-request-id, traceparent and authorization vary.
local requests = {}
local next_request = 0

function init(args)
  math.randomseed(7)
  local function hex(digits)
    local text = ""
    for _ = 1, digits do text = text .. string.format("%x", math.random(0, 15)) end
    return text
  end
  for index = 1, 2000 do
    local path = string.format("/api/v1/svc%d/items/%d?page=%d", index % 14, index, index % 7)
    requests[index] = wrk.format("GET", path, {
      ["Host"] = "svc.mesh.local",
      ["User-Agent"] = "wrk/4.1 benchmark",
      ["Accept"] = "application/json",
      ["Accept-Encoding"] = "gzip, deflate",
      ["Accept-Language"] = "en-US,en;q=0.9",
      ["Cookie"] = "session=0123456789abcdef; theme=dark",
      ["X-Request-Id"] = string.format("%s-%s-4%s-a%s-%s", hex(8), hex(4), hex(3), hex(3), hex(12)),
      ["Traceparent"] = string.format("00-%s-%s-01", hex(32), hex(16)),
      ["Authorization"] = "Bearer " .. hex(40),
    })
  end
end

function request()
  next_request = next_request % 2000 + 1
  return requests[next_request]
end

function done(summary, latency, requests)
  io.write(string.format("RESULT %d %d %d %d %d\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout))
end
