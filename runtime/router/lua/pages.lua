-- The router's own answers: a page for people, JSON for programs, a few lines of text for terminals.

local cjson = require "cjson.safe"

local M = {}

local template  -- page.html, cut at its {{holes}}

-- id, status, seconds after which to try again, title, what happened, what the owner can do. {name} is filled in.
local PAGES = {
  unknown = {
    id = "app_unknown", status = 404, title = "There is no app here",
    text = "No app answers at {host}.",
    owner = "If this should be your app, check the spelling of the address, and that the app exists:",
    commands = { "paas apps" },
  },
  down = {
    id = "app_down", status = 503, retry = 30, title = "This app is not running",
    text = "{app} exists, but no process of it is there to answer right now.",
    owner = "If this is your app, see what became of it, and start a web process:",
    commands = { "paas ps -a {app}", "paas ps:scale web=1 -a {app}" },
  },
  stopped = {
    id = "app_stopped", status = 503, retry = 3600, title = "This app is stopped",
    text = "{app} has been stopped, and answers again when someone starts it.",
    owner = "If this is your app, start it:",
    commands = { "paas ps:start -a {app}" },
  },
  maintenance = {
    id = "app_maintenance", status = 503, retry = 120, title = "Back in a moment",
    text = "{app} is down for maintenance. Nothing is wrong: someone is working on it.",
    owner = "If this is your app, open it again when you are done:",
    commands = { "paas maintenance:off -a {app}" },
  },
  no_answer = {
    id = "app_no_answer", status = 502, title = "The app did not answer",
    text = "{app} refused the connection, or broke it off before it had answered.",
    owner = "If this is your app, its log and its processes tell why:",
    commands = { "paas logs -a {app}", "paas ps -a {app}" },
  },
  too_slow = {
    id = "app_too_slow", status = 504, title = "The app took too long",
    text = "{app} got this request, but did not answer within {seconds} seconds.",
    owner = "If this is your app, its log tells what it was busy with. Move long work into a worker process:",
    commands = { "paas logs -a {app}" },
  },
  too_large = {
    id = "request_too_large", status = 413, title = "That is too large",
    text = "This request is larger than the {limit} that are accepted here.",
    owner = "If this is your app, send large files in parts, or straight to a file store.",
  },
  bad_request = {
    id = "bad_request", status = 400, title = "We could not read that request",
    text = "What your browser or program sent is not a request we understand.",
    owner = "Cookies or an address that are too long are a common reason: clear the cookies of this site and try again.",
  },
  platform = {
    id = "platform_no_answer", status = 502, retry = 5, title = "The platform is not answering",
    text = "It may be starting: try again in a few seconds. Apps are not affected.",
    owner = "If this is your machine and it stays like this, start the platform again and read what it says:",
    commands = { "bin/up" },
  },
}

local ESCAPES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

local function escape(text)
  return (text:gsub("[&<>\"']", ESCAPES))
end

local function size(bytes)
  for _, unit in ipairs({ "bytes", "KiB", "MiB" }) do
    if bytes < 1024 then return string.format(bytes % 1 == 0 and "%d %s" or "%.1f %s", bytes, unit) end
    bytes = bytes / 1024
  end
  return string.format(bytes % 1 == 0 and "%d GiB" or "%.1f GiB", bytes)
end

function M.init(folder)
  local file = assert(io.open(folder .. "/page.html", "rb"))
  template = file:read("*a")
  file:close()
end

local function wants(accept)
  accept = (accept or ""):lower()
  if accept:find("text/html", 1, true) or accept:find("application/xhtml", 1, true) then return "html" end
  if accept:find("json", 1, true) then return "json" end
  return "text"
end

-- Answer with the page `name` and end the request. `values.page` is HTML of the app's own, for everybody but programs.
function M.send(name, values)
  local page = PAGES[name]
  local var = ngx.var
  local app = values.app
  if not app or app == "" then app = nil end
  local known = {
    app = app, host = (values.host and values.host ~= "") and values.host or "this address",
    seconds = values.seconds and string.format("%d", values.seconds), limit = values.limit and size(values.limit),
  }
  local function fill(text, decorate)
    return (text:gsub("{(%a+)}", function(key)
      local value = known[key]
      if not value and key == "app" then value = "The app" end
      return decorate(value or "the allowed")
    end))
  end
  local function plain(value) return value end
  local status = page.status
  if values.status and values.status >= 400 then status = values.status end

  local id = var.paas_id or var.request_id or ""
  local form = wants(var.http_accept)
  local body
  if values.page and form ~= "json" then
    body = values.page
    ngx.header["Content-Type"] = "text/html; charset=utf-8"
  elseif form == "html" then
    local commands = {}
    if app or name == "unknown" or name == "platform" then
      for i, command in ipairs(page.commands or {}) do commands[i] = escape(fill(command, plain)) end
    end
    local holes = {
      status = tostring(status), title = escape(page.title), id = escape(id), tone = name,
      text = fill(page.text, function(value) return "<b>" .. escape(value) .. "</b>" end),
      owner = escape(page.owner),
      commands = #commands > 0 and "<pre><code>" .. table.concat(commands, "\n") .. "</code></pre>" or "",
    }
    body = template:gsub("{{(%a+)}}", holes)
    ngx.header["Content-Type"] = "text/html; charset=utf-8"
    ngx.header["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'"
  elseif form == "json" then
    body = cjson.encode({ id = page.id, message = fill(page.text, plain), request_id = id }) .. "\n"
    ngx.header["Content-Type"] = "application/json"
  else
    local lines = { status .. " " .. page.title, fill(page.text, plain), page.owner }
    if app or name == "unknown" or name == "platform" then
      for _, command in ipairs(page.commands or {}) do lines[#lines + 1] = "    " .. fill(command, plain) end
    end
    lines[#lines + 1] = "Request id: " .. id
    body = table.concat(lines, "\n") .. "\n"
    ngx.header["Content-Type"] = "text/plain; charset=utf-8"
  end
  ngx.header["Cache-Control"] = "no-store"
  ngx.header["Retry-After"] = page.retry
  ngx.header["X-Content-Type-Options"] = "nosniff"
  ngx.header["Content-Length"] = #body
  ngx.status = status
  ngx.req.discard_body()
  ngx.print(body)
  return ngx.exit(ngx.HTTP_OK)
end

return M
