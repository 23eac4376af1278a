import Glibc
import IO
import KubernetesAPI
import Serialization
import Testing

@testable import Workloads

@Suite("Shutdown")
struct ShutdownTests {
    private static func member(_ id: String, isSidecar: Bool = false) -> Shutdown.Member {
        Shutdown.Member(
            isSidecar: isSidecar,
            instance: .init(id: id, pid: 0, pidStart: 0, monitor: 0, monitorStart: 0, bundle: "", log: ""))
    }

    @Test("sidecars are asked to end when nothing else of their pod runs")
    func order() {
        let (app, proxy) = (Self.member("app"), Self.member("proxy", isSidecar: true))
        let pod = Shutdown.Pod(graceSeconds: 30, members: [proxy, app])
        #expect(pod.due { _ in true } == [app])
        #expect(pod.due { $0.isSidecar } == [proxy])
        #expect(pod.due { _ in false } == [])
    }

    @Test("a pod has its own grace period, at most ten seconds, whatever number it gives")
    func grace() {
        #expect(Shutdown.Pod(graceSeconds: 3, members: []).grace == .seconds(3))
        #expect(Shutdown.Pod(graceSeconds: .max, members: []).grace == .seconds(10))
        #expect(Shutdown.Pod(graceSeconds: .min, members: []).grace == .zero)
    }

    @Test("a container gets SIGTERM and ends by itself; one that stays gets SIGKILL", .enabled(if: geteuid() == 0))
    func signals() throws {
        let bench = try Bench()
        defer { bench.remove() }
        func start(_ name: String, _ handler: String) throws -> (ContainerRuntime.Instance, String) {
            let script = "import signal, time; \(handler); print('ready', flush=True); time.sleep(600)"
            let pod = try pod([
                "containers": [["name": .string(name), "image": "i", "command": ["python3", "-c", .string(script)]]]
            ])
            let plan = try bench.plan(pod, name)
            let (bundle, log, _) = try plan.writeBundle(run: 0)
            let instance = try bench.runtime.start(id: plan.id, bundle: bundle, log: log)
            for _ in 0..<6000 where try !String(decoding: File.read(log), as: UTF8.self).contains("ready") {
                usleep(10_000)
            }
            return (instance, bundle)
        }
        let polite = try start("polite", "signal.signal(signal.SIGTERM, lambda *_: exit(7))")
        let stubborn = try start("stubborn", "signal.signal(signal.SIGTERM, signal.SIG_IGN)")
        Shutdown(
            [polite, stubborn].map {
                Shutdown.Pod(graceSeconds: 1, members: [.init(isSidecar: false, instance: $0.0)])
            }
        ).run()
        for (instance, code) in [(polite, 7), (stubborn, 137)] {
            if let monitor = try? ProcessHandle(pid: instance.0.monitor) {
                Pipe.wait(monitor.pidfd, milliseconds: 60_000)
            }
            #expect(bench.runtime.exitStatus(id: instance.0.id, bundle: instance.1).code == code)
        }
    }
}

@Suite("Node agent: bounds")
struct BoundsTests {
    @Test("hostPath shows neither our directories nor the host's processes, and nothing is made there through a link")
    func hostPaths() throws {
        let base = "/tmp/skein-test-\(UInt32.random(in: 0 ... .max))"
        defer { try? File.removeTree(base) }
        try File.makeDirectory(base + "/data/control")
        try File.symlink(base + "/data", at: base + "/link")
        let protected = NodeLayout(dataDirectory: base + "/data", runDirectory: base + "/run").protected
        for (path, type) in [
            ("/", ""), ("/proc", ""), ("/proc/1/root", ""), (base, ""), (base + "/data/control", ""),
            (base + "/link/control", "Directory"), (base + "/link/new", "DirectoryOrCreate"),
            (base + "/link/new/deep", "DirectoryOrCreate"), (base + "/link/file", "FileOrCreate"),
        ] {
            #expect(throws: WorkloadError.self, "\(path)") {
                try HostPath.resolve(path, type: type, volume: "v", protected: protected)
            }
        }
        #expect(try File.list(base + "/data") == ["control"])
        #expect(
            try HostPath.resolve(base + "/own", type: "DirectoryOrCreate", volume: "v", protected: protected)
                == base + "/own")
    }

    @Test("no number in a log query is too large")
    func logNumbers() {
        for text in ["9223372036854775807", "-9223372036854775808", "x", ""] {
            let options = LogOptions(
                query: [("sinceSeconds", text), ("tailLines", text), ("limitBytes", text)],
                now: Timestamp(seconds: 1_700_000_000))
            #expect(LogReader(options: options).render([], tail: options.tailLines) == [])
        }
    }

    @Test("an older content of a volume never replaces a newer one")
    func volumeOrder() throws {
        let base = "/tmp/skein-test-\(UInt32.random(in: 0 ... .max))"
        defer { try? File.removeTree(base) }
        let pod = try pod(["containers": [["name": "app", "image": "i"]]])
        let layout = NodeLayout(dataDirectory: base + "/data", runDirectory: base + "/run")
        let editions = VolumeEditions()
        func plan(_ text: String) -> VolumePlan {
            VolumePlan(
                paths: [:],
                contents: [
                    .init(directory: base + "/v", files: ["key": .init(bytes: Array(text.utf8), mode: 0o644)])
                ], layout: layout, pod: pod, edition: editions.next())
        }
        let (old, new) = (plan("old"), plan("new"))
        try new.write()
        try old.write()
        #expect(try File.text(base + "/v/key") == "new")
    }

    @Test("a probe's command may say more than a pipe holds", .enabled(if: geteuid() == 0))
    func muchOutput() throws {
        let bench = try Bench()
        defer { bench.remove() }
        let pod = try pod([
            "containers": [["name": "app", "image": "i", "command": ["/bin/sleep", "600"]]]
        ])
        let plan = try bench.plan(pod, "app")
        let (bundle, log, _) = try plan.writeBundle(run: 0)
        _ = try bench.runtime.start(id: plan.id, bundle: bundle, log: log)
        let (long, much) = try #require(
            bench.runtime.execute(plan.id, ["/bin/sh", "-c", "head -c 300000 /dev/zero"], timeout: .seconds(30)))
        #expect(long == .exited(0))
        #expect(much.count <= 10_240)
    }
}
