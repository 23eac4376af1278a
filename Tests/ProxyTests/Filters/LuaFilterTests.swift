import HTTP
import Testing

@testable import Proxy

@Suite("Filters: lua")
struct LuaFilterTests {
    private static let name = "envoy.filters.http.lua"

    private static func quoted(_ code: String) -> String {
        "\"" + code.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n") + "\""
    }

    private static func lua(_ code: String, _ more: String = "") -> (name: String, config: String) {
        (
            name,
            FilterScene.any(
                "envoy.extensions.filters.http.lua.v3.Lua",
                "default_source_code: { inline_string: \(quoted(code)) }" + more)
        )
    }

    @Test("heads are read and changed, on the way there and back")
    func headers() async throws {
        let code = """
            function envoy_on_request(h)
              local headers = h:headers()
              headers:add("x-path", headers:get(":path"))
              headers:replace(":path", "/other")
              headers:add("x-m", "1")
              headers:add("x-m", "2")
              headers:add("x-n", headers:getNumValues("x-m") .. headers:getAtIndex("x-m", 1) .. headers:get("x-m"))
              headers:remove("x-gone")
              local names = ""
              for name, value in pairs(headers) do names = names .. name .. " " end
              headers:add("x-names", names)
            end
            function envoy_on_response(h)
              h:headers():replace("x-status", h:headers():get(":status"))
              h:headers():remove("x-up")
              h:headers():replace(":status", "201")
            end
            """
        try await FilterScene.run([Self.lua(code)]) { head, _ in
            ScriptedUpstream.ok(head, "X-Up: 1\\r\\n".replacing("\\r\\n", with: "\r\n"))
        } _: { scene async throws in
            let response = try await scene.client.get("/p", "X-Gone: 1\r\n")
            #expect(response.status == 201)
            #expect(response.field("x-status") == "200" && response.field("x-up") == nil)
            #expect(response.body.hasPrefix("GET /other HTTP/1.1"))
            #expect(response.body.contains("x-path: /p\r\n") && response.body.contains("x-n: 221,2\r\n"))
            #expect(!response.body.contains("x-gone: 1") && response.body.contains(":authority :path :method"))
            #expect(try await scene.stat("http.ingress.lua.executions") == 2)
            #expect(try await scene.stat("http.ingress.lua.errors") == 0)
        }
    }

    @Test("a script answers itself")
    func responds() async throws {
        let code = """
            function envoy_on_request(h)
              h:respond({[":status"] = "403", ["x-by"] = {"lua", "me"}}, "stopped")
              error("never")
            end
            """
        try await FilterScene.run([Self.lua(code)]) { scene async throws in
            let response = try await scene.client.get("/")
            #expect(response.status == 403 && response.body == "stopped")
            #expect(response.field("x-by") == "lua" && response.field("content-type") == "text/plain")
            #expect(scene.upstream.requests == 0)
            #expect(try await scene.stat("http.ingress.lua.errors") == 0)
        }
    }

    @Test("bodies whole: read, changed, lengths set; and piece by piece")
    func bodies() async throws {
        let code = """
            function envoy_on_request(h)
              local body = h:body()
              if body == nil then return h:headers():add("x-none", "1") end
              h:headers():add("x-length", body:length())
              body:setBytes("<" .. body:getBytes(0, body:length()) .. ">")
            end
            function envoy_on_response(h)
              local sum = 0
              for chunk in h:bodyChunks() do
                sum = sum + chunk:length()
                chunk:setBytes(string.upper(chunk:getBytes(0, chunk:length())))
              end
              h:logInfo("bytes " .. sum)
            end
            """
        try await FilterScene.run([Self.lua(code)]) { scene async throws in
            try await scene.client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            let response = try await scene.client.response()
            #expect(response.body.contains("X-LENGTH: 5\r\n") && response.body.contains("CONTENT-LENGTH: 7\r\n"))
            #expect(response.body.hasSuffix("<HELLO>"))
            #expect(try await scene.client.get("/").body.contains("X-NONE: 1"))
            try await scene.client.write(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n")
            #expect(try await scene.client.response().body.hasSuffix("<ABCD>"))
            #expect(try await scene.stat("http.ingress.lua.errors") == 0)
        }
    }

    @Test("a script calls a cluster and waits, with the body still to come; another does not wait")
    func calls() async throws {
        let code = """
            function envoy_on_request(h)
              h:httpCall("backend", {[":method"] = "GET", [":path"] = "/nobody-waits", [":authority"] = "x"}, nil, 1000, true)
              local headers, body = h:httpCall(
                "backend", {[":method"] = "POST", [":path"] = "/check", [":authority"] = "x", ["x-a"] = {"1", "2"}}, "ask",
                {timeout_ms = 1000, return_duplicate_headers = true})
              h:headers():add("x-status", headers[":status"])
              h:headers():add("x-multi", headers["x-multi"][2])
              h:headers():add("x-answer", body)
              local all = h:body()
              if all then all:setBytes("[" .. all:getBytes(0, all:length()) .. "]") end
            end
            """
        try await FilterScene.run([Self.lua(code)]) { head, body in
            head.hasPrefix("POST /check")
                ? ScriptedUpstream.ok("checked " + body, "X-Multi: 1\r\nX-Multi: 2\r\n")
                : ScriptedUpstream.ok(head + body)
        } _: { scene async throws in
            try await scene.client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")
            let response = try await scene.client.response()
            #expect(response.body.contains("x-status: 200\r\n") && response.body.contains("x-answer: checked ask\r\n"))
            #expect(response.body.contains("x-multi: 2\r\n") && response.body.hasSuffix("[body]"))
            #expect(try await scene.client.get("/").body.contains("x-answer: checked ask\r\n"))
            #expect(try await scene.stat("http.ingress.lua.errors") == 0)
        }
    }

    @Test("errors are counted and the request goes on: in the script, in its arguments, without end, out of scope")
    func errors() async throws {
        let code = """
            function envoy_on_request(h)
              local path = h:headers():get(":path")
              if path == "/error" then error("x") end
              if path == "/loop" then while true do end end
              if path == "/cluster" then h:httpCall("none", {[":method"] = "GET", [":path"] = "/", [":authority"] = "x"}, nil, 1) end
              if path == "/table" then error({}) end
              if path == "/yield" then coroutine.yield() end
              if path == "/kept" then kept:headers():get("x") end
              if path == "/range" then h:headers():add("bad name", "x") end
              if path == "/pseudo" then h:headers():replace(":path", "a b") end
              kept = h
            end
            """
        try await FilterScene.run([Self.lua(code)]) { scene async throws in
            _ = try await scene.client.get("/")
            let paths = ["/error", "/loop", "/cluster", "/table", "/yield", "/kept", "/range", "/pseudo"]
            for (index, path) in paths.enumerated() {
                #expect(try await scene.client.get(path).status == 200, "\(path)")
                #expect(try await scene.stat("http.ingress.lua.errors") == index + 1, "\(path)")
            }
        }
    }

    @Test("stream, route and connection can be asked; dynamic metadata kept; tools work")
    func facts() async throws {
        let code = """
            function envoy_on_request(h)
              local info = h:streamInfo()
              info:dynamicMetadata():set("ns", "key", {a = {1, 2, "x\\"y"}, b = true})
              local meta = info:dynamicMetadata():get("ns")
              local list = meta.key.a
              local add = function(name, value) h:headers():add(name, tostring(value)) end
              add("x-meta", list[1] .. list[2] .. list[3] .. tostring(meta.key.b))
              add("x-info", info:protocol() .. " " .. info:routeName() .. " " .. info:downstreamDirectRemoteAddress():sub(1, 9))
              add("x-route", h:metadata():get("who"))
              add("x-tls", h:connection():ssl() == nil)
              add("x-base", h:base64Escape("hello") .. h:base64Decode("aGk="))
              add("x-time", h:timestamp() > 1600000000000 and #h:timestampString(EnvoyTimestampResolution.MICROSECOND) == 16)
              add("x-key", h:importPublicKey("no key", 6):get() == "")
            end
            """
        let routes = """
            [ { match: { prefix: "/" }, name: named, route: { cluster: backend }, metadata: { filter_metadata: { \(Self.name): { who: me } } } } ]
            """
        try await FilterScene.run([Self.lua(code)], routes: routes) { scene async throws in
            let body = try await scene.client.get("/").body
            #expect(body.contains("x-meta: 12x\"ytrue\r\n"))
            #expect(body.contains("x-info: HTTP/1.1 named 127.0.0.1\r\n"))
            for line in ["x-route: me", "x-tls: true", "x-base: aGVsbG8=hi", "x-time: true", "x-key: true"] {
                #expect(body.contains(line + "\r\n"), "\(line)")
            }
            #expect(try await scene.stat("http.ingress.lua.errors") == 0)
        }
    }

    @Test("routes choose a script by name, bring their own, or have none")
    func routes() async throws {
        func per(_ path: String, _ fields: String) -> String {
            "{ match: { prefix: \"\(path)\" }, route: { cluster: backend }, typed_per_filter_config: { \(Self.name): "
                + FilterScene.any("envoy.extensions.filters.http.lua.v3.LuaPerRoute", fields) + " } }"
        }
        func script(_ word: String) -> String {
            "function envoy_on_request(h) h:headers():add('x-script', '\(word)' .. tostring(h:filterContext():get('k'))) end"
        }
        let routes =
            "[ "
            + [
                per("/off", "disabled: true"), per("/named", "name: other, filter_context: { k: v }"),
                per("/own", "source_code: { inline_string: \(Self.quoted(script("own"))) }"),
                per("/none", "name: missing"),
                "{ match: { prefix: \"/\" }, route: { cluster: backend } }",
            ].joined(separator: ", ") + " ]"
        let more = ", source_codes: { other: { inline_string: \(Self.quoted(script("named"))) } }"
        try await FilterScene.run([Self.lua(script("standard"), more)], routes: routes) { scene async throws in
            #expect(!(try await scene.client.get("/off").body.contains("x-script")))
            #expect(try await scene.client.get("/named").body.contains("x-script: namedv\r\n"))
            #expect(try await scene.client.get("/own").body.contains("x-script: ownnil\r\n"))
            #expect(!(try await scene.client.get("/none").body.contains("x-script")))
            #expect(try await scene.client.get("/").body.contains("x-script: standardnil\r\n"))
        }
    }

    @Test("an answer without a body gets one")
    func bodyFromNothing() async throws {
        let code = "function envoy_on_response(h) h:body(true):setBytes('made up') end"
        try await FilterScene.run([Self.lua(code)]) { _, _ in
            ScriptedUpstream.ok("")
        } _: { scene async throws in
            let response = try await scene.client.get("/")
            #expect(response.body == "made up" && response.field("content-length") == "7")
        }
    }

    @Test("trailers are read and changed")
    func trailers() async throws {
        let code = """
            function envoy_on_response(h)
              local trailers = h:trailers()
              if trailers then trailers:replace("x-t", trailers:get("x-t") .. "!") end
            end
            """
        try await GRPCScene.run([Self.lua(code)]) { exchange in
            try await exchange.finished()
            try exchange.respond(200)
            try exchange.send("body")
            try exchange.finish(trailers: [("x-t", "1")])
        } _: { scene async throws in
            let response = try await scene.client.get("/")
            #expect(response.text == "body" && response.trailers["x-t"] == "1!")
            #expect(try await scene.scene.stat("http.ingress.lua.errors") == 0)
        }
    }
}
