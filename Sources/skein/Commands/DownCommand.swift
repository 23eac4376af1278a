internal import HTTP
internal import IO
internal import Serialization

extension Command {
    static let down = Command(
        "down", "", "Stop Skein and remove everything it made on this machine",
        details: """
            Stops pods and processes and removes network namespaces, links, nftables tables, mounts and sockets, also what was
            left behind by processes that were killed. What was applied stays in the data directory: the next skein up has it.
            """,
        flags: [.dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        guard Environment.userID == 0 else { throw CommandError("skein down: must be root; run sudo skein down") }
        let run = invocation.runDirectory
        let owner = RunLock.Owner.read(run)
        if let owner, invocation.has(.dataDirectory), owner.dataDirectory != invocation.dataDirectory {
            throw CommandError(
                "skein down: what runs in \(run) uses the data directory \(owner.dataDirectory), not \(invocation.dataDirectory)"
            )
        }
        let reporter = Reporter(descriptor: nil)
        let data = owner?.dataDirectory ?? invocation.dataDirectory
        return try onLoop { loop throws(CommandError) in
            if RunLock.isHeld(run) {
                reporter.progress("stopping pods and the control plane")
                try await endSupervisor(run, on: loop)
            }
            if let process = ControlPlaneProcess.running(runDirectory: run) {
                reporter.progress("stopping the control plane")
                await ControlPlaneProcess.end(process, on: loop)
            }
            reporter.progress("removing what is left")
            try Node.tearDown(dataDirectory: data, runDirectory: run)
            reporter.out("stopped")
            return 0
        }
    }

    /// Who holds the lock; nil when nobody does any more.
    ///
    /// A supervisor that was killed holds it a moment longer than it has a command line, and one that is just starting holds
    /// it before it has written its number: both pass.
    private static func supervisor(_ run: String, on loop: EventLoop) async throws(CommandError) -> ProcessHandle? {
        for _ in 0..<100 {
            guard RunLock.isHeld(run) else { return nil }
            // Read while the lock is held: an older text may name a process that is long gone.
            if let pid = RunLock.Owner.read(run)?.pid, let process = try? ProcessHandle(pid: pid),
                Process.commandLine(pid).dropFirst().contains(where: { $0 == "up" || $0 == "node" })
            {
                return process
            }
            await loop.sleep(for: .milliseconds(50))
        }
        throw CommandError("skein down: \(run) is in use by a process that is just starting; try again")
    }

    /// Ends whoever holds the lock: SIGTERM, and SIGKILL when a minute did not suffice.
    ///
    /// Pods end within ten seconds or so, hence a minute means that it hangs; `skein down` does the rest then.
    private static func endSupervisor(_ run: String, on loop: EventLoop) async throws(CommandError) {
        guard let process = try await supervisor(run, on: loop) else { return }
        do throws(SystemError) {
            try process.signal(Signals.terminate)
            for round in 0..<1400 where process.isRunning {
                if round == 1200 { try process.signal(Signals.kill) }
                await loop.sleep(for: .milliseconds(50))
            }
        } catch {
            throw CommandError("skein down: \(error)")
        }
        guard !process.isRunning else {
            throw CommandError("skein down: the supervisor (process \(process.pid)) does not end, not even by SIGKILL")
        }
    }

    private static let traffic = Flag(
        "traffic", "what the control plane sends to proxies: per change, per proxy, and what it refused")

    static let status = Command(
        "status", "", "Show whether Skein runs, its pods and its services",
        flags: [traffic, .dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        let run = invocation.runDirectory
        if invocation.has(traffic) {
            return try onLoop { loop throws(CommandError) in
                let client = KubernetesClient(runDirectory: run, on: loop)
                Console.out(try await TrafficReport(client).text)
                return 0
            }
        }
        guard Environment.userID == 0 else { throw CommandError("skein status: must be root; run sudo skein status") }
        guard RunLock.isHeld(run), let owner = RunLock.Owner.read(run) else {
            Console.out("Skein does not run (run directory \(run)); skein up starts it\n")
            if let process = ControlPlaneProcess.running(runDirectory: run) {
                Console.out(
                    "A control plane without supervisor does (process \(process.pid)): skein up adopts it, skein down ends it\n"
                )
            }
            return 1
        }
        return try onLoop { loop throws(CommandError) in
            let client = KubernetesClient(runDirectory: run, on: loop)
            let readiness = try await Readiness(client)
            let overview = try await Overview(client, gateway: .ip(.v4(0x7F00_0001), port: 8080))
            Console.out("Supervisor:     process \(owner.pid), data directory \(owner.dataDirectory)\n")
            let process = ControlPlaneProcess.running(runDirectory: run)
            Console.out("Control plane:  \(process.map { "process \($0.pid)" } ?? "not running")\n")
            Console.out("Pods:           \(readiness.line)\n")
            for problem in readiness.problems { Console.out("                \(problem)\n") }
            let convergence = try await client.call(.get, "/skein/v1/convergence")
            if convergence.isSuccess {
                let revision = convergence.json["revision"]?.int ?? 0
                let isComplete = convergence.json["complete"]?.bool == true
                Console.out("Configuration:  revision \(revision), \(convergence.json["proxies"]?.int ?? 0) proxies\n")
                if !isComplete { Console.out(Convergence.problem(convergence.json, Int64(revision)) + "\n") }
            }
            Console.out("\n" + overview.services.text)
            return readiness.isReady ? 0 : 1
        }
    }
}
