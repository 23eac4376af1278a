import Testing

@testable import Proxy

/// `skein-proxy completion`.
struct CompletionTests {
    @Test func `Each shell gets the flags that the help texts name`() {
        #expect(Completion.flags(in: Options.help).contains("--concurrency"))
        #expect(Completion.flags(in: ExplainCommand.help).contains("--principal"))
        for shell in Completion.shells {
            let script = Completion.script(for: shell) ?? ""
            for word in ["concurrency", "recorder-sample", "principal", "explain", "validate"] {
                #expect(script.contains(word), "\(shell) \(word)")
            }
        }
        #expect(Completion.script(for: "csh") == nil)
    }

    @Test func `Every flag that a help text names is taken`() throws {
        let alone = ["--version", "--help", "--disable-hot-restart"]
        let values = [
            "--mode": "validate", "--defaults": "envoy", "--drain-strategy": "immediate", "--log-level": "info",
            "-l": "info",
            "--component-log-level": "xds:debug", "--log-format": "%v",
        ]
        for flag in Completion.flags(in: Options.help) where flag != "-H" {
            let value = alone.contains(flag) ? [] : [values[flag] ?? "1"]
            #expect(throws: Never.self, "\(flag)") { try Options(arguments: [flag] + value) }
        }
        let explainAlone = ["--tls", "--http2", "--help", "--batch"]
        let explainValues = [
            "-H": "a: b", "--header": "a: b", "-o": "json", "--output": "json", "--defaults": "envoy",
            "--answer": "503",
        ]
        for flag in Completion.flags(in: ExplainCommand.help) {
            var value = explainAlone.contains(flag) ? [] : [explainValues[flag] ?? "1"]
            if flag == "--source" || flag == "--destination" { value = ["10.0.0.1:80"] }
            // A batch reads its requests.
            let request = ["--batch", "--requests"].contains(flag) ? [] : ["/"]
            #expect(throws: Never.self, "\(flag)") { try ExplainCommand(arguments: request + [flag] + value) }
        }
        #expect(throws: UsageError.self) { try ExplainCommand(arguments: ["/", "--batch"]) }
    }
}
