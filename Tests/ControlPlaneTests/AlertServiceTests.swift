import HTTP
import IO
import Insight
import Serialization
import Testing

@testable import ControlPlane

@Suite("Alerts that leave the house")
struct AlertServiceTests {
    private static let rules = """
        groups: [{name: g, rules: [{alert: Hot, expr: temperature > 25, annotations: {summary: "it is hot"}}]}]
        """

    /// Runs the service over a temperature of 30 until its receivers were told so often, or for half a minute.
    private static func run(
        _ data: [String: String], mailProgram: String? = nil, until isDone: @Sendable @escaping (AlertService) -> Bool
    ) async throws -> (problem: String?, delivered: UInt64, undelivered: UInt64) {
        let loop = try EventLoop.start(name: "alerts")
        defer { loop.stop() }
        return await Task(executorPreference: loop) {
            let service = AlertService(on: loop)
            service.mailProgram = mailProgram
            service.configuration = { data.merging(["r.rules.yaml": rules]) { first, _ in first } }
            var store = SeriesStore()
            let begin: Int64 = 1_000
            for tick in begin..<begin + 300 where !isDone(service) {
                store.append(Labels("temperature", ["place": "hall"]), .gauge, tick: tick, 30)
                service.evaluate(store, at: tick * 10_000)
                await loop.sleep(for: .milliseconds(100))
            }
            return (service.problem, service.delivered, service.undelivered)
        }.value
    }

    private static func program(_ name: String, _ text: String) throws -> (directory: String, path: String) {
        let directory = "/tmp/skein-mail-\(Environment.processID)-\(name)"
        try File.makeDirectory(directory)
        let path = directory + "/mail"
        try File.write(path, Array("#!/bin/sh\n\(text)\n".utf8), mode: 0o755)
        return (directory, path)
    }

    private static let mail =
        "route: {receiver: a, group_wait: 0s}\nreceivers: [{name: a, email_configs: [{to: ops@example.com}]}]"

    @Test("the mail program gets the whole message at its standard input", .timeLimit(.minutes(3)))
    func mailed() async throws {
        let (directory, path) = try Self.program("whole", #"echo "$@" > "${0%/*}/words"; cat > "${0%/*}/text""#)
        defer { try? File.removeTree(directory) }
        let found = try await Self.run(["alertmanager.yaml": Self.mail], mailProgram: path) { $0.delivered > 0 }
        #expect(found.problem == nil && found.delivered == 1 && found.undelivered == 0)
        #expect(try File.text(directory + "/words") == "-i -t\n")
        let text = try File.text(directory + "/text")
        #expect(text.contains("To: ops@example.com\n") && text.contains("Subject: [FIRING:1] Hot\n"))
        let body = text.split(separator: "\n\n", maxSplits: 1).last ?? ""
        let plain = try #require(Base64.decode(String(body).replacing("\n", with: "")))
        #expect(String(decoding: plain, as: UTF8.self).contains("summary: it is hot"))
    }

    @Test("what the mail program refuses is counted and sent again", .timeLimit(.minutes(3)))
    func refused() async throws {
        let (directory, path) = try Self.program(
            "refused", #"cat > /dev/null; test -e "${0%/*}/once" && exit 0; touch "${0%/*}/once"; echo no >&2; exit 75"#
        )
        defer { try? File.removeTree(directory) }
        let found = try await Self.run(["alertmanager.yaml": Self.mail], mailProgram: path) { $0.delivered > 0 }
        #expect(found.delivered == 1 && found.undelivered == 1)
    }

    @Test("without --mail-program nothing that stands in the ConfigMap makes the control plane run a program")
    func notAllowed() async throws {
        let found = try await Self.run(["alertmanager.yaml": Self.mail]) { $0.problem != nil }
        #expect(found.problem?.contains("--mail-program") == true && found.delivered == 0)
    }

    @Test(
        "an Alertmanager that is not there is told again; names that are not known are refused", .timeLimit(.minutes(3))
    )
    func unreachable() async throws {
        let found = try await Self.run(["alertmanagers.yaml": "- static_configs: [{targets: [\"127.0.0.1:1\"]}]"]) {
            $0.undelivered > 1
        }
        #expect(found.problem == nil && found.undelivered > 1 && found.delivered == 0)
        let other = try await Self.run(["alertmanager.yml": ""]) { $0.problem != nil }
        #expect(other.problem?.contains("alertmanager.yml") == true)
    }
}
