import Serialization
import Testing

@testable import Workloads

@Suite("Containers by an engine")
struct EngineTests {
    @Test("an answer is its JSON, a refusal its message, and a pull that fails says so behind a good status")
    func answers() {
        func failure(_ status: Int, _ text: String) -> EngineError? {
            if case .failure(let error) = EngineClient.read(status, Array(text.utf8)) { error } else { nil }
        }
        #expect((try? EngineClient.read(200, Array("{\"Id\":\"a\"}".utf8)).get()) == ["Id": "a"])
        #expect((try? EngineClient.read(204, []).get()) == .null)
        #expect(
            failure(404, "{\"message\":\"No such image: x\"}") == EngineError(status: 404, message: "No such image: x"))
        #expect(failure(500, "no JSON")?.message == "no JSON")
        let progress = "{\"status\":\"Pulling\"}\r\n{\"status\":\"Done\"}\r\n"
        #expect(
            (try? EngineClient.read(200, Array(progress.utf8)).get()) == [["status": "Pulling"], ["status": "Done"]])
        #expect(failure(200, "{\"status\":\"Pulling\"}\n{\"error\":\"denied\"}\n")?.message == "denied")
        #expect(failure(200, "{\"error\":\"denied\"}")?.message == "denied")
    }

    @Test("a container becomes what the engine is told of it")
    func container() {
        var container = EngineContainer(
            image: "sha256:1", arguments: ["/bin/web", "-v"], network: "container:sk-1-sandbox")
        container.hostname = "web"
        container.environment = ["A=b"]
        container.user = "1000:0"
        container.mounts = [.bind("/a", to: "/b", readOnly: true)]
        container.capabilities = ["CAP_KILL", "CAP_CHOWN"]
        container.resources.memoryLimitBytes = 64 << 20
        container.resources.cpuLimitMillis = 1500
        container.resources.cpuRequestMillis = 1
        container.isConfined = false
        let json = container.json
        #expect(json["Entrypoint"] == ["/bin/web"] && json["Cmd"] == ["-v"])
        #expect(json["Hostname"] == nil, "its sandbox has it, and an engine refuses both")
        let host = json["HostConfig"]
        #expect(host?["NetworkMode"] == "container:sk-1-sandbox")
        #expect(host?["Mounts"]?[0] == ["Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": true])
        #expect(host?["CapDrop"] == ["ALL"] && host?["CapAdd"] == ["CAP_CHOWN", "CAP_KILL"])
        #expect(host?["Memory"] == .integer(64 << 20) && host?["NanoCpus"] == .integer(1_500_000_000))
        #expect(host?["CpuShares"] == 2)
        #expect(host?["SecurityOpt"] == ["no-new-privileges", "seccomp=unconfined"])
        container.network = "none"
        container.allowsPrivilegeEscalation = true
        #expect(container.json["Hostname"] == "web")
        #expect(container.json["HostConfig"]?["SecurityOpt"] == ["seccomp=unconfined"])
    }

    @Test("images without a tag of their own are asked for each time, unless the pod says otherwise")
    func pulls() {
        #expect(PullPolicy("", image: "nginx") == .always)
        #expect(PullPolicy("", image: "nginx:latest") == .always)
        #expect(PullPolicy("", image: "nginx:1.27") == .ifNotPresent)
        #expect(PullPolicy("", image: "localhost:5000/nginx@sha256:ab") == .ifNotPresent)
        #expect(PullPolicy("Never", image: "nginx") == .never)
        #expect(PullPolicy.reference("localhost:5000/nginx") == ("localhost:5000/nginx", "latest"))
        #expect(PullPolicy.reference("a/b:c") == ("a/b", "c"))
        #expect(PullPolicy.reference("a/b@sha256:cd") == ("a/b", "sha256:cd"))
    }

    @Test("frames are put together whatever pieces they come in")
    func frames() {
        let bytes: [UInt8] = [1, 0, 0, 0, 0, 0, 0, 2, 0x68, 0x69, 2, 0, 0, 0, 0, 0, 0, 1, 0x21]
        for size in 1...bytes.count {
            var frames = EngineFrames()
            var found: [String] = []
            for start in stride(from: 0, to: bytes.count, by: size) {
                for (stream, text) in frames.take(Array(bytes[start..<min(start + size, bytes.count)])) {
                    found.append("\(stream)\(String(decoding: text, as: UTF8.self))")
                }
            }
            #expect(found == ["1hi", "2!"], "\(size)")
        }
    }

    @Test("an engine's log becomes ours, and goes on where it was left")
    func logs() throws {
        func frame(_ stream: UInt8, _ text: String) -> [UInt8] {
            let count = text.utf8.count
            return [stream, 0, 0, 0, 0, 0, UInt8(count >> 8), UInt8(count & 255)] + Array(text.utf8)
        }
        let bytes =
            frame(1, "2026-01-01T00:00:01.5Z one\n") + frame(2, "2026-01-01T00:00:02Z oops\n")
            + frame(1, "2026-01-01T00:00:03Z no end")
        var lines = EngineLogLines(hasTerminal: false, after: nil)
        var text = String(decoding: lines.take(bytes), as: UTF8.self)
        #expect(text == "2026-01-01T00:00:01.5Z stdout F one\n2026-01-01T00:00:02Z stderr F oops\n")
        #expect(EngineLogs.lastTime(in: Array(text.utf8)) == Timestamp("2026-01-01T00:00:02Z"))
        text = String(decoding: lines.finish(), as: UTF8.self)
        #expect(text == "2026-01-01T00:00:03Z stdout F no end\n")
        // Asked again after the agent was killed: what is in the file already does not come twice.
        var again = EngineLogLines(hasTerminal: false, after: Timestamp("2026-01-01T00:00:02Z"))
        #expect(again.take(bytes).isEmpty)
        #expect(String(decoding: again.finish(), as: UTF8.self) == "2026-01-01T00:00:03Z stdout F no end\n")
        var terminal = EngineLogLines(hasTerminal: true, after: nil)
        #expect(
            String(decoding: terminal.take(Array("2026-01-01T00:00:01Z hi\r\n".utf8)), as: UTF8.self)
                == "2026-01-01T00:00:01Z stdout F hi\n")
    }

    @Test("a line without an end costs no more than its bound, and is put together again when it is shown")
    func longLines() {
        let time = "2026-01-01T00:00:01Z"
        var lines = EngineLogLines(hasTerminal: true, after: nil)
        let long = String(repeating: "x", count: 40_000)
        let bytes = lines.take(Array("\(time) \(long)\n".utf8))
        #expect(bytes.split(separator: 0x0A).allSatisfy { $0.count < 17_000 })
        let shown = LogReader(options: LogOptions()).render(bytes[...], tail: nil)
        #expect(shown == Array("\(long)\n".utf8))
    }

    @Test("the image of sandboxes is an archive whose sums are right, with a program of this machine's kind")
    func image() throws {
        let archive = SandboxImage.archive(links: [(name: "lib", target: "usr/lib")])
        #expect(archive.count % 512 == 0)
        var names: [String] = []
        var offset = 0
        while offset + 512 <= archive.count, archive[offset] != 0 {
            let block = Array(archive[offset..<offset + 512])
            names.append(String(decoding: block[..<100].prefix { $0 != 0 }, as: UTF8.self))
            let sum = Int(String(decoding: block[148..<154], as: UTF8.self), radix: 8)
            #expect(sum == block.enumerated().reduce(0) { $0 + ((148..<156).contains($1.0) ? 32 : Int($1.1)) })
            let size = Int(String(decoding: block[124..<135], as: UTF8.self), radix: 8) ?? 0
            offset += 512 + (size + 511) / 512 * 512
        }
        #expect(names == ["dev/", "etc/", "proc/", "run/", "sys/", "tmp/", "usr/", "var/", "lib", "pause"])
        let program = SandboxImage.executable
        #expect(program.prefix(4) == [0x7f, 0x45, 0x4c, 0x46])
        // The segment ends where the file does.
        #expect(program[96] == UInt8(program.count))
    }
}
