-- The table of the router: host name -> app -> addresses, in shared memory.
--
-- Each app is one JSON document (runtime/router/document.py); the files in apps/ are the truth and are read when nginx
-- starts or gets HUP, and the admin socket changes single entries while it runs. No value of an app ever becomes part of
-- nginx's configuration.

local cjson = require "cjson.safe"
local ffi = require "ffi"
local balancer = require "ngx.balancer"
local ssl = require "ngx.ssl"
local pages = require "pages"

local M = {}

local apps = ngx.shared.paas_apps        -- slug -> JSON
local hosts = ngx.shared.paas_hosts      -- host name -> slug
local certs = ngx.shared.paas_certs      -- host name -> JSON {key, chain}
local flight = ngx.shared.paas_flight    -- "r|slug|address|worker" -> requests, "w|..." -> WebSockets
local stats = ngx.shared.paas_stats      -- "slug|c2" -> requests answered 2xx, "slug|b3" -> latency bucket,
                                         -- "slug|o" -> bytes sent, "slug|t" -> when the last one was
local workers = ngx.shared.paas_workers  -- "n" -> last number given; number -> "pid start-time"; "dead|address"

local settings                           -- router.json
local reserved = {}                      -- host names of the platform itself
local roster                             -- pids of the workers, for the next start after a crash
local master                             -- pid
local worker_id                          -- this worker's number
local suffix                             -- "|" .. worker_id

local BUCKETS = { 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000 }  -- ms; one more for the rest
local STATES = { up = true, maintenance = true, down = true, stopped = true }
local PAGE_BYTES = 65536
local DEAD_SECONDS = 3
local CONNECT_SECONDS = 5
local WEBSOCKET_SECONDS = 3600

-- ---------------------------------------------------------------------------------------------------------------------
-- Documents

local function valid_host(host)
  if type(host) ~= "string" or #host > 253 then return false end
  local name = host:gsub("^%*%.", "")
  if not name:find("^[a-z0-9_%-%.]+$") or name:find("..", 1, true) then return false end
  return name:sub(1, 1) ~= "." and name:sub(-1) ~= "."
end

local function valid_slug(slug)
  return type(slug) == "string" and #slug <= 63 and slug:find("^[a-z0-9][a-z0-9%-]*$") ~= nil
end

local function is_number(value, low, high)
  return type(value) == "number" and value >= low and value <= high
end

local function is_list(value)
  return type(value) == "table" and (next(value) == nil or #value > 0)
end

-- The document as the hot path wants it; nil and a reason when it isn't one.
local function compile(slug, raw)
  local doc = cjson.decode(raw)
  if type(doc) ~= "table" or doc.app ~= slug or not valid_slug(slug) then return nil, "not a route of " .. slug end
  if not STATES[doc.state] then return nil, "unknown state" end
  if not is_list(doc.hosts) or not is_list(doc.to) then return nil, "hosts and to must be lists" end
  for _, host in ipairs(doc.hosts) do
    if not valid_host(host) then return nil, "bad host " .. tostring(host) end
  end
  if not is_number(doc.timeout, 1, 86400) then return nil, "bad timeout" end
  if not is_number(doc.body, 0, 2 ^ 53) then return nil, "bad body limit" end
  if type(doc.headers) ~= "table" then return nil, "bad headers" end
  for name, value in pairs(doc.headers) do
    if type(name) ~= "string" or not name:find("^[A-Za-z0-9%-]+$") or type(value) ~= "string"
      or value:find("[%z\1-\31\127]") then
      return nil, "bad header"
    end
  end
  if doc.page ~= nil and (type(doc.page) ~= "string" or #doc.page > PAGE_BYTES) then return nil, "bad page" end
  local targets = {}
  for i, text in ipairs(doc.to) do
    if type(text) ~= "string" then return nil, "bad address" end
    local ip, port = text:match("^([%d%.]+):(%d+)$")
    if not ip then ip, port = text:match("^(%[[%x:%.]+%]):(%d+)$") end
    port = tonumber(port)
    if not ip or port < 1 or port > 65535 then return nil, "bad address " .. text end
    targets[i] = {
      ip = ip, port = port, dead = "dead|" .. text,
      requests = "r|" .. slug .. "|" .. text, websockets = "w|" .. slug .. "|" .. text,
    }
  end
  return {
    raw = raw, slug = slug, state = doc.state, hosts = doc.hosts, targets = targets, timeout = doc.timeout,
    body = doc.body, buffered = doc.buffered ~= false, https = doc.https == true,
    headers = next(doc.headers) and doc.headers or nil, page = doc.page,
  }
end

local compiled = {}  -- of this worker: slug -> route; good as long as the text in shared memory is the same

local function route_of(slug)
  local raw = apps:get(slug)
  if not raw then
    compiled[slug] = nil
    return nil
  end
  local route = compiled[slug]
  if route and route.raw == raw then return route end
  route = compile(slug, raw)
  compiled[slug] = route
  return route
end

-- An exact name, then the nearest wildcard above it.
local function find(host)
  if not host or #host > 253 then return nil end
  local slug = hosts:get(host)
  if slug or not host:find("^[a-z0-9_%-%.]+$") then return slug end
  local dot = host:find(".", 1, true)
  while dot do
    slug = hosts:get("*" .. host:sub(dot))
    if slug then return slug end
    dot = host:find(".", dot + 1, true)
  end
end

-- The keys of an app's counters, made once.
local keys_by_app = {}

local function keys_of(slug)
  local keys = keys_by_app[slug]
  if not keys then
    keys = { class = {}, bucket = {}, last = slug .. "|t", sent = slug .. "|o" }
    for class = 1, 5 do keys.class[class] = slug .. "|c" .. class end
    for bucket = 1, #BUCKETS + 1 do keys.bucket[bucket] = slug .. "|b" .. bucket end
    keys_by_app[slug] = keys
  end
  return keys
end

-- ---------------------------------------------------------------------------------------------------------------------
-- Changes

-- True, or nil, status, id, message; then nothing has changed.
local function put(slug, raw)
  local route, reason = compile(slug, raw)
  if not route then return nil, 400, "bad_route", reason end
  local old = route_of(slug)
  local claimed = {}
  local function undo()
    for _, host in ipairs(claimed) do hosts:delete(host) end
  end
  for _, host in ipairs(route.hosts) do
    if reserved[host] then
      undo()
      return nil, 409, "host_taken", host .. " belongs to the platform."
    end
    local ok, err = hosts:safe_add(host, slug)  -- atomic: of two workers one wins
    if ok then
      claimed[#claimed + 1] = host
    elseif err ~= "exists" then
      undo()
      return nil, 507, "router_full", "The router's table is full."
    else
      local owner = hosts:get(host)
      if owner ~= slug then
        undo()
        return nil, 409, "host_taken", host .. " belongs to " .. (owner or "another app") .. "."
      end
    end
  end
  local ok = apps:safe_set(slug, raw)
  if not ok then
    undo()
    if old then apps:safe_set(slug, old.raw) end  -- a failed safe_set has already dropped the old value
    return nil, 507, "router_full", "The router's table is full."
  end
  if old then
    local kept = {}
    for _, host in ipairs(route.hosts) do kept[host] = true end
    for _, host in ipairs(old.hosts) do
      if not kept[host] and hosts:get(host) == slug then hosts:delete(host) end
    end
  end
  return true
end

local function remove(slug)
  local old = route_of(slug)
  apps:delete(slug)
  compiled[slug], keys_by_app[slug] = nil, nil
  for _, host in ipairs(old and old.hosts or {}) do
    if hosts:get(host) == slug then hosts:delete(host) end
  end
  for class = 1, 5 do stats:delete(slug .. "|c" .. class) end
  for bucket = 1, #BUCKETS + 1 do stats:delete(slug .. "|b" .. bucket) end
  stats:delete(slug .. "|t")
  stats:delete(slug .. "|o")
end

local function put_certificate(name, raw)
  local doc = cjson.decode(raw)
  if not valid_host(name) or type(doc) ~= "table" or type(doc.key) ~= "string" or type(doc.chain) ~= "string" then
    return nil, 400, "bad_certificate", "A certificate needs a host name, a key and a chain."
  end
  if not ssl.parse_pem_cert(doc.chain) or not ssl.parse_pem_priv_key(doc.key) then
    return nil, 400, "bad_certificate", "The key or the chain of " .. name .. " can't be read."
  end
  local old = certs:get(name)
  if not certs:safe_set(name, raw) then
    if old then certs:safe_set(name, old) end
    return nil, 507, "router_full", "The router's table of certificates is full."
  end
  return true
end

-- ---------------------------------------------------------------------------------------------------------------------
-- Start: in the master, at a start and at HUP

ffi.cdef [[
  typedef struct { uint64_t ino; int64_t off; unsigned short length; unsigned char type; char name[256]; } paas_dirent;
  void *opendir(const char *name);
  paas_dirent *readdir(void *dir);
  int closedir(void *dir);
  int getpid(void);
  int getppid(void);
]]

local function names_in(folder)
  local names = {}
  local dir = ffi.C.opendir(folder)
  if dir == nil then return names end
  while true do
    local entry = ffi.C.readdir(dir)
    if entry == nil then break end
    local name = ffi.string(entry.name)
    if name:sub(1, 1) ~= "." then names[#names + 1] = name end
  end
  ffi.C.closedir(dir)
  table.sort(names)
  return names
end

local function content(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end

function M.init(home)
  settings = assert(cjson.decode(assert(content(home .. "/router.json"))))
  for _, host in ipairs(settings.reserved) do reserved[host] = true end
  pages.init(home .. "/lua", settings)
  master = ffi.C.getpid()
  -- Opened here, while we may; the workers inherit it and write their pids.
  roster = io.open(home .. "/run/workers", "a")

  local seen = {}
  for _, name in ipairs(names_in(home .. "/apps")) do
    local slug = name:match("^(.+)%.json$")
    if slug then
      local ok, _, _, reason = put(slug, content(home .. "/apps/" .. name) or "")
      seen[slug] = ok
      if not ok then ngx.log(ngx.ERR, "route left out: ", name, ": ", reason) end
    end
  end
  for _, slug in ipairs(apps:get_keys(0)) do
    if not seen[slug] then remove(slug) end
  end

  local known = {}
  for _, folder in ipairs(names_in(home .. "/certs")) do
    local name = folder:gsub("^_%.", "*.")
    if name ~= "_" then
      local key = content(home .. "/certs/" .. folder .. "/key.pem")
      local chain = content(home .. "/certs/" .. folder .. "/fullchain.pem")
      local ok, _, _, reason = put_certificate(name, cjson.encode({ key = key, chain = chain }))
      known[name] = ok
      if not ok then ngx.log(ngx.ERR, "certificate left out: ", reason) end
    end
  end
  for _, name in ipairs(certs:get_keys(0)) do
    if not known[name] then certs:delete(name) end
  end
end

-- When the process began, in the kernel's ticks; nil when there is none. Tells a reused pid from the same process.
local function start_time(pid)
  local stat = content("/proc/" .. pid .. "/stat")
  local state, rest = (stat or ""):match("^.*%) (%a) (.*)$")
  if not state or state == "Z" then return nil end
  local at = 3
  for field in rest:gmatch("%S+") do
    at = at + 1
    if at == 22 then return field end
  end
end

-- Those that run, and those that have gone without a word. One that is just being born is in neither.
local function all_workers()
  local live, dead = {}, {}
  for id = 1, workers:get("n") or 0 do
    local entry = workers:get(id)
    if entry then
      local pid, at = entry:match("^(%d+) (%d+)$")
      local group = start_time(pid) == at and live or dead
      group[#group + 1] = { id = id, pid = tonumber(pid) }
    end
  end
  return live, dead
end

function M.init_worker()
  worker_id = workers:incr("n", 1, 0)
  suffix = "|" .. worker_id
  local me = ngx.worker.pid() .. " " .. (start_time("self") or "0")
  workers:set(worker_id, me)
  if roster then
    roster:write(me, "\n")
    roster:flush()
  end
  -- First the entry, then this: whoever kills the master and then reads the entries finds us, or we go by ourselves.
  if ffi.C.getppid() ~= master then os.exit(0) end
  -- What a killed worker was counting will never end.
  local _, dead = all_workers()
  local gone = {}
  for _, worker in ipairs(dead) do gone["|" .. worker.id] = true end
  if #dead > 0 then
    for _, key in ipairs(flight:get_keys(0)) do
      if gone[key:match("|%d+$")] then flight:delete(key) end
    end
    for _, worker in ipairs(dead) do workers:delete(worker.id) end
  end
end

-- ---------------------------------------------------------------------------------------------------------------------
-- In-flight counts. A worker owns its own counts and shows them in shared memory under its number.

local busy = {}

local function count(key, delta)
  local n = (busy[key] or 0) + delta
  if n > 0 then
    busy[key] = n
    flight:set(key .. suffix, n)
  else
    busy[key] = nil
    flight:delete(key .. suffix)
  end
end

local function in_flight(slug, address)
  local requests, websockets = 0, 0
  for _, worker in ipairs((all_workers())) do
    requests = requests + (flight:get("r|" .. slug .. "|" .. address .. "|" .. worker.id) or 0)
    websockets = websockets + (flight:get("w|" .. slug .. "|" .. address .. "|" .. worker.id) or 0)
  end
  return requests, websockets
end

-- ---------------------------------------------------------------------------------------------------------------------
-- A request

local function state_page(route)
  if route.state == "maintenance" then return pages.send("maintenance", { app = route.slug, page = route.page }) end
  if route.state == "stopped" then return pages.send("stopped", { app = route.slug }) end
  return pages.send("down", { app = route.slug })
end

-- The size of a body sent without a length, after reading it: nginx itself only knows the limit for all apps.
local function body_size()
  if not pcall(ngx.req.read_body) then return 0 end
  local data = ngx.req.get_body_data()
  if data then return #data end
  local path = ngx.req.get_body_file()
  local file = path and io.open(path, "rb")
  if not file then return 0 end
  local size = file:seek("end")
  file:close()
  return size
end

function M.access()
  local var = ngx.var
  local slug = find(var.host)
  local route = slug and route_of(slug)
  if not route then return pages.send("unknown", { host = var.host }) end
  var.paas_app = slug
  if route.https and settings.https_port and var.scheme == "http" then
    local port = settings.https_port == 443 and "" or ":" .. settings.https_port
    return ngx.redirect("https://" .. var.host .. port .. var.request_uri, 308)
  end
  if route.state ~= "up" or #route.targets == 0 then return state_page(route) end
  if route.body > 0 then
    local length = tonumber(var.http_content_length)
    if not length and route.buffered and (var.http_transfer_encoding or ngx.req.http_version() >= 2) then
      length = body_size()
    end
    if length and length > route.body then return pages.send("too_large", { app = slug, limit = route.body }) end
  end
  if not route.buffered then return ngx.exec("@unbuffered") end
end

-- Power of two choices among those that seem alive and haven't been tried by this request.
local function pick(targets, tried)
  if #targets == 1 then return targets[1] end
  local fresh, good = {}, {}
  for _, target in ipairs(targets) do
    if not (tried and tried[target.requests]) then
      fresh[#fresh + 1] = target
      if not workers:get(target.dead) then good[#good + 1] = target end
    end
  end
  local from = #good > 0 and good or #fresh > 0 and fresh or targets
  local n = #from
  if n == 1 then return from[1] end
  local i = math.random(n)
  local j = math.random(n - 1)
  if j >= i then j = j + 1 end
  local a, b = from[i], from[j]
  local load_a = (busy[a.requests] or 0) + (busy[a.websockets] or 0)
  local load_b = (busy[b.requests] or 0) + (busy[b.websockets] or 0)
  return load_b < load_a and b or a
end

-- Without OpenResty's patches nginx understands no status here, only an error, which becomes a 500.
local function give_up(status)
  ngx.var.paas_why = status
  return ngx.exit(ngx.ERROR)
end

function M.balance()
  local var, ctx = ngx.var, ngx.ctx
  local slug = var.paas_app
  local last = ctx.target
  if last then
    count(last.requests, -1)
    var.paas_to = ""
    local _, status = balancer.get_last_failure()
    -- "-, 0.002 : ": this try has a place already; the one before has a time if there was a connection.
    local connected = (var.upstream_connect_time or ""):find("%d[ ,:]*%-?$")
    if status == 504 and connected then
      return give_up(504)  -- it took the request and was too slow: don't make another one do the work again
    end
    workers:set(last.dead, true, DEAD_SECONDS)
    ctx.tried[last.requests] = true
  else
    ctx.tried = {}
  end

  -- The body may have taken minutes to arrive, so look at the table only now. Count first, then make sure that the
  -- table still says so: whoever changes it and then reads the counts sees this request, or we see the change.
  local route, target = route_of(slug), nil
  while true do
    if not route or route.state ~= "up" or #route.targets == 0 then return give_up(503) end
    target = pick(route.targets, ctx.tried)
    count(target.requests, 1)
    local now = route_of(slug)
    if now == route then break end
    count(target.requests, -1)
    route = now
  end
  var.paas_to = target.requests
  if not last and #route.targets > 1 then balancer.set_more_tries(math.min(#route.targets - 1, 3)) end
  ctx.route, ctx.target = route, target
  local patience = var.paas_upgrade == "websocket" and WEBSOCKET_SECONDS or route.timeout
  balancer.set_timeouts(math.min(CONNECT_SECONDS, route.timeout), patience, patience)
  local ok, err = balancer.set_current_peer(target.ip, target.port)
  if not ok then
    ngx.log(ngx.ERR, "can't connect to ", target.requests, ": ", err)
    return give_up(502)
  end
end

-- The app has answered; its headers are on their way.
function M.answered()
  local ctx = ngx.ctx
  local target = ctx.target
  if not target then return end
  if ngx.status == 101 then
    local var = ngx.var
    count(target.websockets, 1)
    count(target.requests, -1)
    var.paas_to = target.websockets
  end
  local headers = ctx.route.headers
  if headers then
    for name, value in pairs(headers) do ngx.header[name] = value end
  end
end

-- At the end of every request, whatever its end was.
function M.done()
  local var = ngx.var
  local to = var.paas_to
  if to and to ~= "" then
    count(to, -1)
    var.paas_to = ""
  end
  local slug = var.paas_app
  if not slug or slug == "" then return end
  local keys = keys_of(slug)
  local class = keys.class[math.floor((tonumber(var.status) or 500) / 100)]
  if class then stats:incr(class, 1, 0) end
  stats:set(keys.last, ngx.now())
  stats:incr(keys.sent, tonumber(var.bytes_sent) or 0, 0)
  if to and to:sub(1, 1) == "w" then return end
  local ms = (tonumber(var.request_time) or 0) * 1000
  local bucket = 1
  while BUCKETS[bucket] and ms > BUCKETS[bucket] do bucket = bucket + 1 end
  stats:incr(keys.bucket[bucket], 1, 0)
end

-- nginx gave up by itself: no answer, an answer that is none, or a request that is none.
function M.failed()
  local status = tonumber(ngx.var.paas_why) or ngx.status
  local slug = ngx.var.paas_app
  local route = slug and slug ~= "" and route_of(slug)
  if status == 503 and route then return state_page(route) end
  if status == 503 then return pages.send("unknown", { host = ngx.var.host }) end
  if status == 502 or status == 500 then return pages.send("no_answer", { app = slug }) end
  if status == 504 then return pages.send("too_slow", { app = slug, seconds = route and route.timeout }) end
  if status == 413 then return pages.send("too_large", { app = slug, limit = settings.max_body_bytes }) end
  return pages.send("bad_request", { status = status })
end

function M.platform_failed()
  if ngx.status == 413 then return pages.send("too_large", { limit = settings.max_body_bytes }) end
  return pages.send("platform", { status = ngx.status })
end

-- A name that this port does not serve.
function M.stranger()
  return pages.send("unknown", { host = ngx.var.host })
end

-- The registry asks for a token: it is to be had where the client has come to, whatever name it used. That name is one of
-- the platform's own, or no server would have taken the request.
function M.challenged()
  local challenge = ngx.header["WWW-Authenticate"]
  if ngx.status ~= 401 or type(challenge) ~= "string" then return end
  local var = ngx.var
  local realm = 'realm="' .. var.scheme .. "://" .. var.host .. (var.paas_port or "") .. '/v2/token"'
  ngx.header["WWW-Authenticate"] = challenge:gsub('realm="[^"]*"', function() return realm end, 1)
end

-- ---------------------------------------------------------------------------------------------------------------------
-- TLS: the certificate is looked up by the name the visitor asks for; the configuration has a placeholder

local parsed, parsed_count = {}, 0

function M.certificate()
  local name = ssl.server_name() or "localhost"  -- an address can't be asked for by name
  if #name > 253 then return end
  name = name:lower()
  local raw = certs:get(name)
  if not raw then
    local dot = name:find(".", 1, true)
    raw = dot and certs:get("*" .. name:sub(dot))
  end
  if not raw then return end
  local pair = parsed[raw]
  if not pair then
    local doc = cjson.decode(raw)
    local chain, key = ssl.parse_pem_cert(doc.chain), ssl.parse_pem_priv_key(doc.key)
    if not chain or not key then return end
    if parsed_count >= 256 then parsed, parsed_count = {}, 0 end
    pair = { chain, key }
    parsed[raw], parsed_count = pair, parsed_count + 1
  end
  ssl.clear_certs()
  ssl.set_cert(pair[1])
  ssl.set_priv_key(pair[2])
end

-- ---------------------------------------------------------------------------------------------------------------------
-- The admin socket

local function answer(status, doc)
  ngx.status = status
  ngx.header["Content-Type"] = "application/json"
  ngx.print(type(doc) == "string" and doc or cjson.encode(doc))
end

local function outcome(ok, status, id, message)
  if ok then return answer(200, "{}") end
  return answer(status, { id = id, message = message })
end

local function all_apps()
  local parts = {}
  for _, slug in ipairs(apps:get_keys(0)) do
    local raw = apps:get(slug)
    if raw then parts[#parts + 1] = cjson.encode(slug) .. ":" .. raw end
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

local function traffic()
  local parts = {}
  for _, slug in ipairs(apps:get_keys(0)) do
    local keys = keys_of(slug)
    local requests, buckets = {}, {}
    for class = 1, 5 do requests[class] = stats:get(keys.class[class]) or 0 end
    for bucket = 1, #BUCKETS + 1 do buckets[bucket] = stats:get(keys.bucket[bucket]) or 0 end
    local entry = { requests = requests, buckets = buckets, last = stats:get(keys.last), sent = stats:get(keys.sent) or 0 }
    parts[#parts + 1] = cjson.encode(slug) .. ":" .. cjson.encode(entry)
  end
  return '{"bounds":' .. cjson.encode(BUCKETS) .. ',"apps":{' .. table.concat(parts, ",") .. "}}"
end

local function status()
  local pids, free = {}, {}
  for i, worker in ipairs((all_workers())) do pids[i] = worker.pid end
  for name, dict in pairs({ apps = apps, hosts = hosts, certs = certs, flight = flight, stats = stats }) do
    free[name] = { capacity = dict:capacity(), free = dict:free_space() }
  end
  return { apps = #apps:get_keys(0), workers = pids, memory = free, nginx = ngx.var.nginx_version }
end

function M.admin()
  local method, uri = ngx.req.get_method(), ngx.var.uri
  local body
  if method == "PUT" then
    ngx.req.read_body()
    body = ngx.req.get_body_data() or ""
  end
  local slug, rest = uri:match("^/apps/([a-z0-9%-]+)(.*)$")
  if slug and rest == "" then
    if method == "PUT" then return outcome(put(slug, body)) end
    if method == "DELETE" then
      remove(slug)
      return answer(200, "{}")
    end
    local raw = apps:get(slug)
    if method == "GET" and raw then return answer(200, raw) end
  elseif slug and rest == "/flight" and method == "GET" then
    local requests, websockets = in_flight(slug, ngx.req.get_uri_args().to or "")
    return answer(200, { requests = requests, websockets = websockets })
  elseif uri == "/apps" and method == "GET" then
    return answer(200, all_apps())
  elseif uri == "/traffic" and method == "GET" then
    return answer(200, traffic())
  elseif uri == "/status" and method == "GET" then
    return answer(200, status())
  end
  local name = uri:match("^/certs/([a-z0-9_%-%.%*]+)$")
  if name and method == "PUT" then return outcome(put_certificate(name, body)) end
  if name and method == "DELETE" then
    certs:delete(name)
    return answer(200, "{}")
  end
  return answer(404, { id = "not_found", message = "Nothing here." })
end

return M
