import Testing

@testable import Insight

@Suite("Levels of lines of logs")
struct LogSeverityTests {
    @Test(
        "a line tells its level in one of many ways",
        arguments: [
            ("2026-01-02T03:04:05Z warning [node] disk is slow", .warning),
            ("E0102 15:04:05.000000 1 reflector.go:138] failed", .error),
            ("I0102 15:04:05.000000 1 main.go:1] hello", .info),
            ("[ERROR] no such file", .error), ("time=… level=debug msg=x", .debug), ("WARN: old", .warning),
            (#"{"level":"error","msg":"x"}"#, .error), (#"{"severity":"INFO"}"#, .info), (#"{"level":50}"#, .error),
            (#"{"response_code":503}"#, .error), (#"{"status":404}"#, .warning), (#"{"other":1}"#, nil),
            (#"[2026-01-02T03:04:05.000Z] "GET /error HTTP/1.1" 200 - via_upstream"#, .info),
            (#"[2026-01-02T03:04:05.000Z] "GET / HTTP/2" 503 UH no_healthy_upstream"#, .error),
            (#"127.0.0.1 - - [02/Jan/2026 03:04:05] "GET /x HTTP/1.1" 404 -"#, .warning),
            ("    at com.example.Main(Main.java:7)", nil), ("", nil), ("{not json", nil), ("hello", nil),
        ] as [(String, LogSeverity?)])
    func levels(_ line: String, _ expected: LogSeverity?) {
        #expect(LogSeverity(line: line) == expected)
    }
}
