/// What a script asks of the filter, by the numbers that the prelude uses.
enum LuaOperation: Int, CaseIterable {
    case begin, getHeader, headerAt, headerCount, addHeader, replaceHeader, removeHeader, allHeaders, reasonPhrase
    case body, bodyLength, bodyBytes, setBody, beginChunks, nextChunk, hasChunk, trailers
    case log, httpCall, callResult, respond, metadata, filterContext, info, getDynamic, setDynamic, filterState
    case hasTLS, tls, verify, isKey, base64, unbase64, timestamp, clearRoute
}

/// Envoy's objects for scripts, in Lua: each method asks the filter by one function.
enum LuaPrelude {
    /// The function that begins a script's function with its handle.
    static let starter = "envoy_start_"

    static let text =
        "local native = ...\nlocal op = {"
        + LuaOperation.allCases.map { "\($0) = \($0.rawValue)" }.joined(separator: ", ") + "}\n" + objects

    private static let objects = #"""
        local yield, setmetatable, getmetatable, rawget, type = coroutine.yield, setmetatable, getmetatable, rawget, type
        local tostring, error, unpack, rawpairs, textload = tostring, error, unpack, pairs, load
        local format, byte, gsub, concat = string.format, string.byte, string.gsub, table.concat

        -- Byte code is not checked by anybody.
        function load(chunk, name, mode, env)
          if env ~= nil then return textload(chunk, name, "t", env) end
          return textload(chunk, name, "t")
        end
        function loadstring(chunk, name) return textload(chunk, name, "t") end

        function pairs(value)
          local meta = type(value) == "table" and getmetatable(value)
          local own = type(meta) == "table" and rawget(meta, "__pairs")
          if own then return own(value) end
          return rawpairs(value)
        end

        EnvoyTimestampResolution = { MILLISECOND = 0, MICROSECOND = 1 }

        local function text(value)
          local kind = type(value)
          if kind == "string" then return value end
          if kind == "number" then return tostring(value) end
          error("string expected, got " .. kind, 3)
        end

        function print(...)
          local parts = {}
          for index = 1, select("#", ...) do parts[index] = tostring((select(index, ...))) end
          native(op.log, 3, concat(parts, "\t"))
        end

        local Map = {}
        Map.__index = Map
        local function map(id, which) return setmetatable({ id = id, which = which }, Map) end
        function Map:add(name, value) native(op.addHeader, self.id, self.which, text(name), text(value)) end
        function Map:get(name) return native(op.getHeader, self.id, self.which, text(name)) end
        function Map:getAtIndex(name, index) return native(op.headerAt, self.id, self.which, text(name), index) end
        function Map:getNumValues(name) return native(op.headerCount, self.id, self.which, text(name)) end
        function Map:remove(name) native(op.removeHeader, self.id, self.which, text(name)) end
        function Map:replace(name, value) native(op.replaceHeader, self.id, self.which, text(name), text(value)) end
        function Map:setHttp1ReasonPhrase(phrase) native(op.reasonPhrase, self.id, self.which, text(phrase)) end
        function Map:__pairs()
          local all = native(op.allHeaders, self.id, self.which)
          local index = -1
          return function()
            index = index + 2
            if all[index] ~= nil then return all[index], all[index + 1] end
          end
        end

        local Buffer = {}
        Buffer.__index = Buffer
        local function buffer(id, chunk) return setmetatable({ id = id, chunk = chunk }, Buffer) end
        function Buffer:length() return native(op.bodyLength, self.id, self.chunk) end
        function Buffer:getBytes(index, length) return native(op.bodyBytes, self.id, self.chunk, index, length) end
        function Buffer:setBytes(value) return native(op.setBody, self.id, self.chunk, text(value)) end

        local Meta = {}
        Meta.__index = Meta
        function Meta:get(key) return self.values[key] end
        function Meta:__pairs() return rawpairs(self.values) end
        local function meta(values) return setmetatable({ values = values }, Meta) end

        local function encode(value, depth)
          local kind = type(value)
          if depth > 16 then error("value is nested too deeply", 0) end
          if kind == "nil" then return "null" end
          if kind == "boolean" then return tostring(value) end
          if kind == "number" then
            if value ~= value or value == 1 / 0 or value == -1 / 0 then return "null" end
            return format("%.17g", value)
          end
          if kind == "string" then
            return '"' .. gsub(value, '[%c"\\]', function(c) return format("\\u%04x", byte(c)) end) .. '"'
          end
          if kind ~= "table" then error("a " .. kind .. " is no value for metadata", 0) end
          local parts = {}
          if #value > 0 then
            for index = 1, #value do parts[index] = encode(value[index], depth + 1) end
            return "[" .. concat(parts, ",") .. "]"
          end
          for key, member in rawpairs(value) do
            parts[#parts + 1] = encode(tostring(key), depth + 1) .. ":" .. encode(member, depth + 1)
          end
          return "{" .. concat(parts, ",") .. "}"
        end

        local Dynamic = {}
        Dynamic.__index = Dynamic
        function Dynamic:get(namespace) return native(op.getDynamic, self.id, text(namespace)) end
        function Dynamic:set(namespace, key, value)
          native(op.setDynamic, self.id, text(namespace), text(key), encode(value, 0))
        end
        function Dynamic:__pairs() return rawpairs(native(op.getDynamic, self.id)) end

        local FilterState = {}
        FilterState.__index = FilterState
        function FilterState:get(name) return native(op.filterState, self.id, text(name)) end

        local Secure = {}
        Secure.__index = Secure
        for _, name in rawpairs({
          "peerCertificatePresented", "peerCertificateValidated", "uriSanLocalCertificate",
          "sha256PeerCertificateDigest", "serialNumberPeerCertificate", "issuerPeerCertificate",
          "subjectPeerCertificate", "uriSanPeerCertificate", "subjectLocalCertificate", "dnsSansPeerCertificate",
          "dnsSansLocalCertificate", "urlEncodedPemEncodedPeerCertificate", "sessionId", "ciphersuiteString",
          "tlsVersion",
        }) do
          Secure[name] = function(self) return native(op.tls, self.id, name) end
        end
        local function secure(id)
          if native(op.hasTLS, id) then return setmetatable({ id = id }, Secure) end
        end

        local Info = {}
        Info.__index = Info
        for _, name in rawpairs({
          "protocol", "routeName", "virtualClusterName", "downstreamDirectLocalAddress", "downstreamLocalAddress",
          "downstreamDirectRemoteAddress", "downstreamRemoteAddress", "requestedServerName",
        }) do
          Info[name] = function(self) return native(op.info, self.id, name) end
        end
        function Info:dynamicMetadata() return setmetatable({ id = self.id }, Dynamic) end
        function Info:filterState() return setmetatable({ id = self.id }, FilterState) end
        function Info:downstreamSslConnection() return secure(self.id) end

        local Connection = {}
        Connection.__index = Connection
        function Connection:ssl() return secure(self.id) end

        local Key = {}
        Key.__index = Key
        function Key:get() return self.der end

        local function flatten(fields)
          if type(fields) ~= "table" then error("table expected, got " .. type(fields), 3) end
          local flat = {}
          for name, value in rawpairs(fields) do
            if type(name) ~= "string" then error("header key must be a string", 3) end
            if type(value) == "table" then
              for _, one in rawpairs(value) do
                flat[#flat + 1] = name
                flat[#flat + 1] = text(one)
              end
            else
              flat[#flat + 1] = name
              flat[#flat + 1] = text(value)
            end
          end
          return flat
        end

        local Handle = {}
        Handle.__index = Handle
        function Handle:headers() return map(self.id, 0) end
        function Handle:body(always)
          local state = native(op.body, self.id)
          if state == 1 then
            yield()
            state = native(op.body, self.id)
          end
          if state == 0 and not always then return nil end
          return buffer(self.id, false)
        end
        function Handle:bodyChunks()
          native(op.beginChunks, self.id)
          return function()
            if native(op.nextChunk, self.id) == 0 then return nil end
            yield()
            if native(op.hasChunk, self.id) then return buffer(self.id, true) end
            return nil
          end
        end
        function Handle:trailers()
          local state = native(op.trailers, self.id)
          if state == 1 then
            yield()
            state = native(op.trailers, self.id)
          end
          if state == 0 then return nil end
          return map(self.id, 1)
        end
        for level, name in rawpairs({ "logTrace", "logDebug", "logInfo", "logWarn", "logErr", "logCritical" }) do
          Handle[name] = function(self, message) native(op.log, level, text(message)) end
        end
        local options = {
          asynchronous = true, timeout_ms = true, trace_sampled = true, return_duplicate_headers = true, send_xff = true,
        }
        function Handle:httpCall(cluster, headers, body, timeout, asynchronous)
          local duplicates, traced = false, nil
          if type(timeout) == "table" then
            local given = timeout
            for key in rawpairs(given) do
              if not options[key] then error('"' .. tostring(key) .. '" is not valid key for httpCall() options', 2) end
            end
            timeout, asynchronous = given.timeout_ms or 0, given.asynchronous
            duplicates = given.return_duplicate_headers
            if given.trace_sampled ~= nil then traced = given.trace_sampled and true or false end
          elseif asynchronous ~= nil and type(asynchronous) ~= "boolean" then
            error("http call asynchronous flag must be 'true', 'false', or empty", 2)
          end
          if type(timeout) ~= "number" then error("http call timeout must be a number", 2) end
          if timeout < 0 then error("http call timeout must be >= 0", 2) end
          if body ~= nil then body = text(body) end
          native(op.httpCall, self.id, text(cluster), timeout, asynchronous and true or false, body, traced, unpack(flatten(headers)))
          if asynchronous then return end
          yield()
          return native(op.callResult, self.id, duplicates and true or false)
        end
        function Handle:respond(headers, body)
          if body ~= nil then body = text(body) end
          native(op.respond, self.id, body, unpack(flatten(headers)))
          while true do yield() end
        end
        function Handle:metadata() return meta(native(op.metadata, self.id)) end
        function Handle:filterContext() return meta(native(op.filterContext, self.id)) end
        function Handle:streamInfo() return setmetatable({ id = self.id }, Info) end
        function Handle:connection() return setmetatable({ id = self.id }, Connection) end
        function Handle:clearRouteCache() native(op.clearRoute, self.id) end
        function Handle:importPublicKey(der, length)
          local key = string.sub(text(der), 1, length)
          return setmetatable({ der = native(op.isKey, key) and key or "" }, Key)
        end
        function Handle:verifySignature(hash, key, signature, signatureLength, clear, clearLength)
          return native(
            op.verify, text(hash), text(key), string.sub(text(signature), 1, signatureLength),
            string.sub(text(clear), 1, clearLength))
        end
        function Handle:base64Escape(value) return native(op.base64, text(value)) end
        function Handle:base64Decode(value) return native(op.unbase64, text(value)) end
        function Handle:timestamp(resolution)
          if resolution ~= nil and tonumber(resolution) ~= 0 then error("timestamp format must be MILLISECOND.", 2) end
          return native(op.timestamp, false)
        end
        function Handle:timestampString(resolution)
          local unit = resolution == nil and 0 or tonumber(resolution)
          if unit ~= 0 and unit ~= 1 then error("timestamp format must be MILLISECOND or MICROSECOND.", 2) end
          return format("%.0f", native(op.timestamp, unit == 1))
        end

        function envoy_start_(f) return f(setmetatable({ id = native(op.begin) }, Handle)) end
        """#
}
