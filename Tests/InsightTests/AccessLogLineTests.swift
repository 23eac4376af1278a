import Insight
import Serialization
import Testing

@Suite("Lines of access logs")
struct AccessLogLineTests {
    @Test("Envoy's default line is read; query, user agent and forwarded addresses are left out")
    func standard() throws {
        let line = try #require(
            AccessLogLine(
                "[2026-11-22T18:17:02.939Z] \"GET /books/1?token=abc HTTP/1.1\" 503 UF,URX 0 91 27 - \"1.2.3.4\" \"Mozilla \\\"5\\\"\" "
                    + "\"5d2c-id\" \"catalog\" \"10.244.0.6:8000\""))
        #expect(line.time == "2026-11-22T18:17:02.939Z" && line.method == "GET" && line.path == "/books/1")
        #expect(line.status == 503 && line.flags == "UF,URX" && line.milliseconds == 27 && line.version == "HTTP/1.1")
        #expect(line.requestID == "5d2c-id" && line.authority == "catalog" && line.upstream == "10.244.0.6:8000")
        let text = String(decoding: line.json.bytes, as: UTF8.self)
        #expect(!text.contains("abc") && !text.contains("Mozilla") && !text.contains("1.2.3.4"))
    }

    @Test("the mesh's line in JSON is read, numbers as numbers or texts")
    func json() throws {
        let line = try #require(
            AccessLogLine(
                #"{"start_time":"2026-11-22T18:17:02.939Z","method":"POST","path":"/x?y=1","protocol":"HTTP/2","response_code":"201","response_flags":"-","duration":1.5,"authority":"web","upstream_host":null,"user_agent":"me"}"#
            ))
        #expect(line.status == 201 && line.flags.isEmpty && line.milliseconds == 1.5 && line.path == "/x")
        #expect(line.upstream.isEmpty && line.method == "POST" && line.authority == "web")
    }

    @Test(
        "other formats are none",
        arguments: [
            "", "listening on 8000", "[info] ready", "[t] \"GET /\" 200", "{\"level\":\"info\"}", "{", "[t] \"x\" y \"",
            "[2026] \"GET / HTTP/1.1\"", "[2026] \"GET / HTTP/1.1\" x -", "[",
        ])
    func others(_ text: String) { #expect(AccessLogLine(text) == nil) }

    @Test("a line that ends early has what was there, and nothing traps")
    func cut() {
        let whole =
            "[2026-11-22T18:17:02.939Z] \"GET /books/1 HTTP/1.1\" 200 - 0 91 27 26 \"-\" \"a\" \"id\" \"catalog\" \"h\""
        for length in 0...whole.count { _ = AccessLogLine(whole.prefix(length)) }
        #expect(AccessLogLine(whole.prefix(whole.count - 4))?.authority == "catalog")
    }
}
