internal import IO

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
            if let owner, RunLock.isHeld(run) {
                reporter.progress("stopping pods and the control plane")
                Process.signal(owner.pid, Signals.terminate)
                var rounds = 0
                while RunLock.isHeld(run) {
                    // Pods get their grace period; a supervisor that hangs for minutes is killed.
                    if rounds == 2400 { Process.signal(owner.pid, Signals.kill) }
                    await loop.sleep(for: .milliseconds(50))
                    rounds += 1
                }
            }
            if let pid = ControlPlaneProcess.running(runDirectory: run) {
                reporter.progress("stopping the control plane")
                await ControlPlaneProcess.end(pid, on: loop)
            }
            reporter.progress("removing what is left")
            try Node.tearDown(dataDirectory: data, runDirectory: run)
            reporter.out("stopped")
            return 0
        }
    }

    static let status = Command(
        "status", "", "Show whether Skein runs, its pods and its services",
        flags: [.dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        let run = invocation.runDirectory
        guard RunLock.isHeld(run), let owner = RunLock.Owner.read(run) else {
            Console.out("Skein does not run (run directory \(run)); skein up starts it\n")
            if let pid = ControlPlaneProcess.running(runDirectory: run) {
                Console.out(
                    "A control plane without supervisor does (process \(pid)): skein up adopts it, skein down ends it\n"
                )
            }
            return 1
        }
        return try onLoop { loop throws(CommandError) in
            let client = KubernetesClient(runDirectory: run, on: loop)
            let readiness = try await Readiness(client)
            let overview = try await Overview(client, gateway: .ip(.v4(0x7F00_0001), port: 8080))
            Console.out("Supervisor:     process \(owner.pid), data directory \(owner.dataDirectory)\n")
            let pid = ControlPlaneProcess.running(runDirectory: run)
            Console.out("Control plane:  \(pid.map { "process \($0)" } ?? "not running")\n")
            Console.out("Pods:           \(readiness.line)\n")
            for problem in readiness.problems { Console.out("                \(problem)\n") }
            Console.out("\n" + overview.services.text)
            return readiness.isReady ? 0 : 1
        }
    }
}
