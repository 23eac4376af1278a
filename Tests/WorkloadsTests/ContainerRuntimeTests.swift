import Glibc
import IO
import KubernetesAPI
import Serialization
import Testing

@testable import Workloads

/// Directories and a network namespace of a test's own; gone with `remove`.
struct Bench {
    let directory: String
    let run: String
    let layout: NodeLayout
    let runtime: ContainerRuntime
    let namespace: String

    init() throws {
        Leftovers.sweep
        namespace = Leftovers.name(Leftovers.bench)
        directory = "/var/tmp/" + namespace
        // Mount points are prepared in the run directory, which containers must not see from below.
        run = "/tmp/" + namespace
        layout = NodeLayout(dataDirectory: directory + "/data", runDirectory: run)
        runtime = try ContainerRuntime(layout: layout)
        try runtime.prepare()
        let (status, output) = try Child.run(.init(["/sbin/ip", "netns", "add", namespace]))
        guard status.isSuccess else { throw SystemError(EIO, String(decoding: output, as: UTF8.self)) }
        _ = try Child.run(.init(["/sbin/ip", "-n", namespace, "link", "set", "lo", "up"]))
    }

    func remove() {
        for id in runtime.list() { runtime.remove(id: id) }
        Leftovers.remove(namespace)
    }

    func plan(_ pod: PodManifest, _ name: String, run: Int = 0, volumes: [String: String] = [:]) throws -> ContainerPlan
    {
        let container = try #require((pod.initContainers + pod.containers).first { $0.name == name })
        return ContainerPlan(
            id: NodeLayout.containerID(pod.uid, name, run: run), pod: pod, container: container,
            image: ContainerImage(root: .host, config: .init()),
            environment: try ContainerEnvironment.resolve(
                container, of: pod, facts: PodFacts(), image: [], references: NoReferences()),
            volumes: volumes, networkNamespace: "/run/netns/" + namespace, addresses: ["10.244.0.9"],
            nameserver: "10.244.0.1", layout: layout, cgroups: .inspect(), host: .inspect(), proxy: nil)
    }

    /// Starts a container, waits for its end and returns its exit code and log lines.
    func runToEnd(_ plan: ContainerPlan) throws -> (code: Int, lines: [String]) {
        let (bundle, log, _) = try plan.writeBundle(run: 0)
        let instance = try runtime.start(id: plan.id, bundle: bundle, log: log)
        if let monitor = try? ProcessHandle(pid: instance.monitor) { Pipe.wait(monitor.pidfd, milliseconds: 20_000) }
        let end = runtime.exitStatus(id: plan.id, bundle: bundle)
        runtime.remove(id: plan.id)
        let shown = LogReader(options: LogOptions()).render(try File.read(log)[...], tail: nil)
        let lines = String(decoding: shown, as: UTF8.self).split(separator: "\n").map(String.init)
        return (end.code, lines)
    }
}

/// What a test process leaves behind when it is killed: containers that ignore SIGTERM, mounts, namespaces.
///
/// Names carry the process they belong to; the next run ends what belongs to none.
enum Leftovers {
    static let bench = "skein-test-"
    static let node = "skein-node-"

    static func name(_ kind: String) -> String {
        "\(kind)\(Environment.processID)-\(UInt32.random(in: 0 ... .max))"
    }

    /// Runs once in a process.
    static let sweep: Void = {
        for name in (try? File.list("/tmp")) ?? [] {
            guard let kind = [bench, node].first(where: { name.hasPrefix($0) }) else { continue }
            let parts = name.dropFirst(kind.utf8.count).split(separator: "-")
            guard parts.count == 2, let owner = Int32(parts[0]), !File.exists("/proc/\(owner)") else { continue }
            let top = "/tmp/" + name
            let layout =
                kind == bench
                ? NodeLayout(dataDirectory: "/var\(top)/data", runDirectory: top)
                : NodeLayout(dataDirectory: top + "/data", runDirectory: top + "/run")
            for problem in NodeAgent.tearDownAll(layout, network: LoopbackNetwork(top + "/netns")) {
                print("left over from process \(owner): \(problem)")
            }
            remove(name)
        }
    }()

    static func remove(_ name: String) {
        _ = try? Child.run(.init(["/sbin/ip", "netns", "delete", name]))
        for directory in ["/var/tmp/" + name, "/tmp/" + name] {
            for point in ((try? Mount.points(below: directory)) ?? []).reversed() { try? Mount.remove(point) }
            try? File.removeTree(directory)
        }
    }
}

struct NoReferences: PodReferences {
    func configMap(_ namespace: String, _ name: String) -> KubernetesObject? { nil }
    func secret(_ namespace: String, _ name: String) -> KubernetesObject? { nil }
}

func pod(
    _ spec: JSON, uid: String = "uid-\(UInt32.random(in: 0 ... .max))", labels: JSON = [:], annotations: JSON = [:]
)
    throws -> PodManifest
{
    try PodManifest(
        KubernetesObject(json: [
            "apiVersion": "v1", "kind": "Pod",
            "metadata": [
                "name": "web", "namespace": "shop", "uid": .string(uid), "labels": labels, "annotations": annotations,
            ],
            "spec": spec,
        ]))
}

@Suite("Containers under runc and conmon", .enabled(if: geteuid() == 0))
struct ContainerRuntimeTests {
    @Test("a container serves HTTP on its own loopback, and ends by SIGTERM with its status kept")
    func server() throws {
        let bench = try Bench()
        defer { bench.remove() }
        let pod = try pod([
            "containers": [
                ["name": "server", "image": "python:3.11-slim", "command": ["python3", "-m", "http.server", "8000"]]
            ]
        ])
        let plan = try bench.plan(pod, "server")
        let (bundle, log, _) = try plan.writeBundle(run: 0)
        let begin = MonotonicTime.now
        let instance = try bench.runtime.start(id: plan.id, bundle: bundle, log: log)
        print("container start: \((MonotonicTime.now - begin).wholeMilliseconds) ms")
        let script = """
            import time, urllib.request
            for _ in range(200):
                try:
                    print(urllib.request.urlopen('http://127.0.0.1:8000/').status); break
                except OSError: time.sleep(0.05)
            """
        let (status, output) = try #require(
            bench.runtime.execute(plan.id, ["python3", "-c", script], timeout: .seconds(30)))
        #expect(status == .exited(0))
        #expect(String(decoding: output, as: UTF8.self) == "200\n")
        bench.runtime.signal(instance, SIGKILL)
        let monitor = try ProcessHandle(pid: instance.monitor)
        Pipe.wait(monitor.pidfd, milliseconds: 10_000)
        #expect(bench.runtime.exitStatus(id: plan.id, bundle: bundle).code == 137)
    }

    @Test("a program that is not there is a failure of the start that names it")
    func missingProgram() throws {
        let bench = try Bench()
        defer { bench.remove() }
        let pod = try pod(["containers": [["name": "x", "image": "i", "command": ["/no/such/program"]]]])
        let plan = try bench.plan(pod, "x")
        let (bundle, log, _) = try plan.writeBundle(run: 0)
        let error = #expect(throws: WorkloadError.self) {
            try bench.runtime.start(id: plan.id, bundle: bundle, log: log)
        }
        #expect(error?.message.contains("/no/such/program") == true, "\(error?.message ?? "no error")")
        #expect(bench.runtime.list().isEmpty)
    }

    @Test("a host-image container sees neither keys, secrets nor sockets of ours, and cannot write the host")
    func scan() throws {
        let bench = try Bench()
        defer { bench.remove() }
        try File.makeDirectory(bench.layout.dataDirectory + "/control/ca", mode: 0o700)
        let marker = "skein-secret-\(UInt32.random(in: 0 ... .max))"
        try File.write(bench.layout.dataDirectory + "/control/ca/key.pem", Array(marker.utf8), mode: 0o600)
        try File.makeDirectory(bench.layout.secrets + "/other-pod/token", mode: 0o700)
        try File.write(bench.layout.secrets + "/other-pod/token/value", Array(marker.utf8), mode: 0o600)
        let listener = try Socket.listen(on: .unix(bench.layout.runDirectory + "/api.sock"))
        defer { listener.close() }
        let script = """
            import os, stat, sys
            found = []
            for top, dirs, files in os.walk('/'):
                if top in ('/proc', '/sys', '/usr', '/opt'): dirs[:] = []; continue
                for name in files:
                    path = os.path.join(top, name)
                    try:
                        mode = os.lstat(path)
                        if stat.S_ISSOCK(mode.st_mode): found.append('socket ' + path)
                        if stat.S_ISREG(mode.st_mode) and mode.st_size < 4096 and mode.st_size > 0:
                            if b'\(marker.prefix(12))' + b'-\(marker.dropFirst(13))' in open(path, 'rb').read(): found.append('secret ' + path)
                    except OSError: pass
            for path in ('/etc/shadow', '/etc/gshadow', '/etc/ssh/ssh_config'):
                try:
                    if open(path).read(): found.append('readable ' + path)
                except OSError: pass
            for path in ('/root', '/home', '/boot', '/sys/fs/cgroup', '\(bench.directory)'):
                try:
                    if os.listdir(path): found.append('filled ' + path)
                except OSError: pass
            for path in ('/x', '/usr/x', '/etc/x', '/var/x', '/sys/kernel/x', '/proc/sys/kernel/hostname'):
                try:
                    open(path, 'w').close(); found.append('writable ' + path)
                except OSError: pass
            for path in ('/tmp/x', '/run/x', '/dev/shm/x'):
                open(path, 'w').close()
            # Other processes, descriptors that leaked into us, sockets without a file, devices of the host.
            processes = sorted(name for name in os.listdir('/proc') if name.isdigit())
            if processes != ['1']: found.append('processes %s' % processes)
            for name in os.listdir('/proc/self/fd'):
                try: target = os.readlink('/proc/self/fd/' + name)
                except OSError: continue
                if int(name) > 2 and not target.startswith('/proc/'): found.append('descriptor ' + target)
            if len(open('/proc/net/unix').read().splitlines()) > 1: found.append('sockets ' + open('/proc/net/unix').read())
            for name in os.listdir('/dev'):
                mode = os.lstat('/dev/' + name).st_mode
                if stat.S_ISBLK(mode): found.append('device ' + name)
                if stat.S_ISCHR(mode) and name not in ('null', 'zero', 'full', 'random', 'urandom', 'tty', 'ptmx', 'console'):
                    found.append('device ' + name)
            for path in ('/proc/kcore', '/proc/keys', '/proc/timer_list'):
                try:
                    if os.path.exists(path) and open(path, 'rb').read(1): found.append('readable ' + path)
                except OSError: pass
            for path in ('/proc/sysrq-trigger', '/proc/sys/kernel/core_pattern', '/sys/kernel/uevent_helper'):
                try:
                    open(path, 'w').close(); found.append('writable ' + path)
                except OSError: pass
            if not os.path.exists('/sys/kernel'): found.append('no /sys')
            # Ways out: namespaces, mounts, handles of files, other processes' memory, rings, keys, programs in the kernel.
            import ctypes, platform
            libc = ctypes.CDLL(None, use_errno=True)
            calls = {
                'x86_64': {'unshare': 272, 'setns': 308, 'mount': 165, 'umount2': 166, 'pivot_root': 155, 'ptrace': 101,
                    'open_by_handle_at': 304, 'io_uring_setup': 425, 'bpf': 321, 'keyctl': 250, 'add_key': 248,
                    'kexec_load': 246, 'init_module': 175, 'perf_event_open': 298, 'userfaultfd': 323, 'move_mount': 429,
                    'process_vm_readv': 310, 'fsopen': 430},
            }.get(platform.machine(), {})
            for name, number in calls.items():
                ctypes.set_errno(0)
                # unshare, setns: a new user namespace; the others fail for bad arguments when they are let through.
                if libc.syscall(number, 0x10000000, 0, 0, 0, 0) != -1 or ctypes.get_errno() != 1: found.append('call ' + name)
            # A new namespace by clone3 or clone would be a new world with all capabilities.
            if libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0) != -1: found.append('clone')
            try: os.mknod('/dev/shm/sda', 0o600 | stat.S_IFBLK, os.makedev(8, 0))
            except OSError: pass
            else:
                try:
                    open('/dev/shm/sda', 'rb').close(); found.append('opened a block device')
                except OSError: pass
            status = dict(line.split(':\\t', 1) for line in open('/proc/self/status').read().splitlines() if ':\\t' in line)
            print(status['CapEff'], status['NoNewPrivs'], status['Seccomp'], os.getpid())
            print(found)
            """
        let pod = try pod([
            "containers": [["name": "scan", "image": "python", "command": ["python3", "-c", .string(script)]]]
        ])
        let (code, lines) = try bench.runToEnd(try bench.plan(pod, "scan"))
        #expect(code == 0, "\(lines)")
        #expect(lines == ["00000000a80425fb 1 2 1", "[]"])
    }

    @Test("volumes appear where the host has no such place, also below /etc and /var")
    func volumePlaces() throws {
        let bench = try Bench()
        defer { bench.remove() }
        let source = bench.directory + "/volume"
        try VolumeWriter.write(["a.txt": .init(bytes: Array("hello".utf8), mode: 0o644)], to: source)
        let pod = try pod([
            "containers": [
                [
                    "name": "x", "image": "i",
                    "command": [
                        "/bin/sh", "-c",
                        "cat /app/a.txt /etc/shop/conf/a.txt /var/shop/a.txt; hostname; cat /etc/hosts | tail -1; tail -3 /etc/resolv.conf",
                    ],
                    "volumeMounts": [
                        ["name": "v", "mountPath": "/app"], ["name": "v", "mountPath": "/etc/shop/conf"],
                        ["name": "v", "mountPath": "/var/shop"],
                    ],
                ]
            ],
            "volumes": [["name": "v", "configMap": ["name": "c"]]],
        ])
        let (code, lines) = try bench.runToEnd(try bench.plan(pod, "x", volumes: ["v": source]))
        #expect(code == 0)
        #expect(
            lines == [
                "hellohellohelloweb", "10.244.0.9\tweb",
                "search shop.svc.cluster.local svc.cluster.local cluster.local", "nameserver 10.244.0.1",
                "options ndots:5 timeout:1 attempts:5",
            ])
        #expect(!File.exists("/etc/shop"))
    }
}
