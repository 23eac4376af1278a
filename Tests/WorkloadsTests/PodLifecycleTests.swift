import IO
import KubernetesAPI
import Serialization
import Testing

@testable import Workloads

/// A pod's life under a clock that the test moves.
struct Life {
    var life: PodLifecycle
    var now = MonotonicTime(nanoseconds: 1_000_000_000_000)

    init(_ spec: JSON, proxy: PodLifecycle.ProxyRole = .none) throws {
        life = PodLifecycle(try pod(spec), proxy: proxy)
    }

    mutating func on(_ event: PodLifecycle.Event) -> [PodLifecycle.Action] {
        life.on(event, at: now, wallSeconds: Int64(now.nanoseconds / 1_000_000_000)).filter {
            if case .record = $0 { false } else { true }
        }
    }

    mutating func after(_ duration: Duration) -> [PodLifecycle.Action] {
        now = now + duration
        return on(.tick)
    }

    mutating func exit(_ name: String, _ code: Int) -> [PodLifecycle.Action] {
        on(.exited(container: name, code: code, reason: nil, message: ""))
    }

    mutating func good(_ name: String, _ kind: Workloads.Probe.Kind) -> [PodLifecycle.Action] {
        on(.answered(container: name, kind, isGood: true, message: ""))
    }

    func state(_ name: String) -> Workloads.ContainerState? { life.containers.first { $0.name == name }?.state }
}

private let one: JSON = ["containers": [["name": "app", "image": "i"]]]
private let full: JSON = [
    "initContainers": [
        ["name": "first", "image": "i"], ["name": "helper", "image": "i", "restartPolicy": "Always"],
        ["name": "second", "image": "i"],
    ],
    "containers": [["name": "a", "image": "i"], ["name": "b", "image": "i"]],
]

@Suite("Pod life cycle")
struct PodLifecycleTests {
    @Test("a second deletion with less patience shortens what is under way, one with more does not lengthen it")
    func impatience() throws {
        var life = try Life(one)
        _ = life.on(.networkReady)
        _ = life.on(.started(container: "app", id: "1"))
        _ = life.on(.deletionRequested(graceSeconds: 20))
        #expect(life.on(.drained) == [.terminate(container: "app")])
        _ = life.on(.deletionRequested(graceSeconds: 2))
        _ = life.on(.deletionRequested(graceSeconds: 600))
        #expect(life.after(.seconds(1)) == [])
        #expect(life.after(.seconds(1)) == [.kill(container: "app")])
    }

    @Test("sidecar, init containers, native sidecar and containers start in order")
    func order() throws {
        var life = try Life(full, proxy: .sidecar)
        #expect(life.on(.networkReady) == [.start(container: "skein-proxy", attempt: 0)])
        #expect(life.on(.started(container: "skein-proxy", id: "p")) == [.probe(container: "skein-proxy", .readiness)])
        #expect(life.good("skein-proxy", .readiness) == [.start(container: "first", attempt: 0)])
        #expect(life.on(.started(container: "first", id: "1")) == [])
        #expect(life.exit("first", 0) == [.start(container: "helper", attempt: 0)])
        #expect(life.on(.started(container: "helper", id: "h")) == [.start(container: "second", attempt: 0)])
        #expect(life.on(.started(container: "second", id: "2")) == [])
        #expect(life.life.phase == .pending)
        #expect(
            life.exit("second", 0) == [.start(container: "a", attempt: 0), .start(container: "b", attempt: 0)])
        #expect(life.life.isInitialized)
        #expect(life.on(.started(container: "a", id: "a")) == [])
        #expect(!life.life.isReady)
        #expect(life.on(.started(container: "b", id: "b")) == [])
        #expect(life.life.isReady)
        #expect(life.life.phase == .running)
    }

    @Test(
        "a container that crashes is started at once, then after 10, 20, 40 … 300 seconds, and afresh after 10 minutes")
    func backoff() throws {
        var life = try Life(one)
        #expect(life.on(.networkReady) == [.start(container: "app", attempt: 0)])
        _ = life.on(.started(container: "app", id: "0"))
        #expect(life.exit("app", 1) == [.start(container: "app", attempt: 1)])
        for (number, pause) in [10, 20, 40, 80, 160, 300, 300].enumerated() {
            _ = life.on(.started(container: "app", id: "\(number)"))
            #expect(life.exit("app", 1) == [])
            guard case .waiting("CrashLoopBackOff", _) = life.state("app") else {
                Issue.record("state is \(String(describing: life.state("app")))")
                return
            }
            #expect(life.after(.seconds(pause) - .milliseconds(1)) == [])
            #expect(life.after(.milliseconds(1)) == [.start(container: "app", attempt: number + 2)])
        }
        _ = life.on(.started(container: "app", id: "x"))
        _ = life.after(.seconds(600))
        #expect(life.exit("app", 1) == [.start(container: "app", attempt: 9)])
    }

    @Test("an init container that fails is tried again, or fails the pod when it must not be")
    func initFailure() throws {
        var life = try Life(full)
        _ = life.on(.networkReady)
        _ = life.on(.started(container: "first", id: "1"))
        #expect(life.exit("first", 3) == [.start(container: "first", attempt: 1)])
        var spec = full
        spec["restartPolicy"] = "Never"
        life = try Life(spec)
        _ = life.on(.networkReady)
        _ = life.on(.started(container: "first", id: "1"))
        #expect(life.exit("first", 3) == [])
        #expect(life.life.phase == .failed)
    }

    @Test("a Job's sidecar ends with its containers, and the pod has succeeded")
    func job() throws {
        var spec = one
        spec["restartPolicy"] = "OnFailure"
        var life = try Life(spec, proxy: .sidecar)
        _ = life.on(.networkReady)
        _ = life.on(.started(container: "skein-proxy", id: "p"))
        _ = life.good("skein-proxy", .readiness)
        _ = life.on(.started(container: "app", id: "a"))
        #expect(life.exit("app", 0) == [.terminate(container: "skein-proxy")])
        #expect(life.exit("skein-proxy", 0) == [])
        #expect(life.life.phase == .succeeded)
        #expect(life.after(.seconds(1000)) == [])
    }

    @Test(
        "deletion waits for drained endpoints, drains the sidecar, ends the containers, then the sidecar, then removes")
    func deletion() throws {
        var life = try Life(one, proxy: .sidecar)
        _ = life.on(.networkReady)
        _ = life.on(.started(container: "skein-proxy", id: "p"))
        _ = life.good("skein-proxy", .readiness)
        _ = life.on(.started(container: "app", id: "a"))
        #expect(life.on(.deletionRequested(graceSeconds: 30)) == [])
        #expect(!life.life.isReady)
        #expect(life.on(.drained) == [.drainProxy, .terminate(container: "app")])
        #expect(life.after(.seconds(29)) == [.probe(container: "skein-proxy", .readiness)])
        #expect(life.after(.seconds(1)) == [.kill(container: "app")])
        #expect(life.exit("app", 137) == [.terminate(container: "skein-proxy")])
        #expect(life.exit("skein-proxy", 0) == [.remove])
        #expect(life.after(.seconds(100)) == [])
    }

    @Test("a pod deleted while a container is being started stops it when it has started")
    func deletionWhileStarting() throws {
        var life = try Life(one)
        #expect(life.on(.networkReady) == [.start(container: "app", attempt: 0)])
        #expect(life.on(.deletionRequested(graceSeconds: 5)) == [])
        #expect(life.on(.drained) == [])
        #expect(life.on(.started(container: "app", id: "a")) == [.terminate(container: "app")])
        #expect(life.exit("app", 0) == [.remove])
    }

    @Test("liveness failures restart the container only after the threshold")
    func liveness() throws {
        var spec = one
        spec["containers"] = [
            [
                "name": "app", "image": "i",
                "livenessProbe": ["tcpSocket": ["port": 80], "periodSeconds": 5, "failureThreshold": 2],
            ]
        ]
        var life = try Life(spec)
        _ = life.on(.networkReady)
        #expect(life.on(.started(container: "app", id: "a")) == [.probe(container: "app", .liveness)])
        #expect(life.on(.answered(container: "app", .liveness, isGood: false, message: "")) == [])
        #expect(life.after(.seconds(5)) == [.probe(container: "app", .liveness)])
        #expect(
            life.on(.answered(container: "app", .liveness, isGood: false, message: "")) == [
                .terminate(container: "app")
            ])
        #expect(life.exit("app", 143) == [.start(container: "app", attempt: 1)])
    }

    @Test("readiness waits for the startup probe, and early bad answers are asked again soon without counting")
    func startupAndReadiness() throws {
        var spec = one
        spec["containers"] = [
            [
                "name": "app", "image": "i",
                "startupProbe": ["httpGet": ["port": 80], "failureThreshold": 1],
                "readinessProbe": ["httpGet": ["port": 80], "periodSeconds": 3],
            ]
        ]
        var life = try Life(spec)
        _ = life.on(.networkReady)
        #expect(life.on(.started(container: "app", id: "a")) == [.probe(container: "app", .startup)])
        #expect(life.on(.answered(container: "app", .startup, isGood: false, message: "")) == [])
        #expect(life.after(.milliseconds(100)) == [.probe(container: "app", .startup)])
        #expect(life.good("app", .startup) == [.probe(container: "app", .readiness)])
        #expect(!life.life.isReady)
        #expect(life.good("app", .readiness) == [])
        #expect(life.life.isReady)
    }

    @Test("Istio's init container is shown as completed and not run")
    func capture() throws {
        var spec = one
        spec["initContainers"] = [
            ["name": "istio-init", "image": "istio/proxy_init:1.6.0", "args": ["-p", "15001", "-u", "1337"]]
        ]
        var life = try Life(spec)
        #expect(life.on(.networkReady) == [.start(container: "app", attempt: 0)])
        guard case .terminated(let end) = life.state("istio-init") else {
            Issue.record("not terminated")
            return
        }
        #expect(end.exitCode == 0)
        #expect(end.reason == "Completed")
        #expect(end.message.contains("Skein"))
    }

    @Test("a later life goes on where the former ended: ready stays ready, a container that ended is started again")
    func adoption() throws {
        var life = try Life(full)
        _ = life.on(.networkReady)
        _ = life.on(.started(container: "first", id: "1"))
        _ = life.exit("first", 0)
        _ = life.on(.started(container: "helper", id: "h"))
        _ = life.on(.started(container: "second", id: "2"))
        _ = life.exit("second", 0)
        _ = life.on(.started(container: "a", id: "a"))
        _ = life.on(.started(container: "b", id: "b"))
        let memory = life.life.memory
        var next = try Life(full)
        next.life.restore(memory, at: next.now)
        #expect(next.on(.tick) == [])
        #expect(next.life.isReady)
        #expect(next.exit("a", 1) == [.start(container: "a", attempt: 1)])
    }

    @Test(
        "a container that joins starts at once, counts for nothing, never comes again, and is stopped with the others")
    func ephemeral() throws {
        var life = try Life(full)
        #expect(life.on(.networkReady) == [.start(container: "first", attempt: 0)])
        life.life.add(ephemeral: "debug")
        #expect(life.on(.tick) == [.start(container: "debug", attempt: 0)])
        _ = life.on(.started(container: "debug", id: "d"))
        #expect(!life.life.isReady && life.life.phase == .pending)
        #expect(life.exit("debug", 1) == [])
        #expect(life.after(.seconds(1000)) == [])
        var ready = try Life(one)
        _ = ready.on(.networkReady)
        _ = ready.on(.started(container: "app", id: "a"))
        ready.life.add(ephemeral: "debug")
        ready.life.add(ephemeral: "debug")
        #expect(ready.on(.tick) == [.start(container: "debug", attempt: 0)])
        #expect(ready.life.isReady)
        _ = ready.on(.started(container: "debug", id: "d"))
        #expect(ready.on(.deletionRequested(graceSeconds: 30)) == [])
        #expect(ready.on(.drained) == [.terminate(container: "app"), .terminate(container: "debug")])
        #expect(ready.exit("app", 0) == [])
        #expect(ready.exit("debug", 0) == [.remove])
    }

    @Test("what a machine and a process use is read as the kernel tells it")
    func figures() throws {
        let machine = try #require(
            MachineUsage(
                stat: "cpu  100 20 30 4000 50 6 7 8 0 0\ncpu0 1 1 1 1\n",
                memory: "MemTotal:  1000 kB\nMemFree:   200 kB\nInactive(file):  300 kB\n"))
        #expect(machine.cpuSeconds == 1.71 && machine.memoryBytes == 500 * 1024)
        #expect(MachineUsage(stat: "", memory: "") == nil)
        let line = "7 (a b) c) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 20 10 20 0 1 0 5 1000 25 0"
        #expect(ProcessUsage.usage(stat: line) == ContainerUsage(cpuSeconds: 2.3, memoryBytes: 102_400))
        #expect(ProcessUsage.usage(stat: "7 (a) S 1") == nil)
    }
}
