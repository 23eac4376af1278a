internal import HTTP
internal import IO
internal import KubernetesAPI
internal import Serialization
internal import Telemetry

/// `skein up`: starts the control plane and the node agent, applies files, waits until everything is ready, and stays
/// until it is told to end.
final class Supervisor: Sendable {
    private let options: UpOptions
    private let reporter: Reporter
    private let loop: EventLoop
    private let client: KubernetesClient
    private let log = Logger("supervisor")

    /// How long `skein up` waits for everything to be ready before it says what is missing.
    private static let readyTimeout = Duration.seconds(120)

    init(_ options: UpOptions, reporter: Reporter, on loop: EventLoop) {
        self.options = options
        self.reporter = reporter
        self.loop = loop
        client = KubernetesClient(runDirectory: options.runDirectory, on: loop)
    }

    /// Runs from start to end; the exit status.
    func run(_ manifests: [Manifest], stop: StopRequest) async throws(CommandError) -> Int32 {
        try Preflight.makeDirectories(options)
        let lock = try RunLock(options)
        let isAdopting = try ControlPlaneProcess.findAdoptable(options)
        try Preflight.checkPorts(options, isAdopting: isAdopting)

        reporter.progress("starting the control plane")
        let controlPlane = ControlPlaneProcess(options, on: loop)
        let node = try Node(options, on: loop) { [client, loop, log, options] ways in
            Task(executorPreference: loop) { await NodeObject.tell(client, options.nodeAddresses, ways, log, on: loop) }
        }
        let isTakingOver = isAdopting || node.hasPodsToAdopt
        do throws(CommandError) {
            try await controlPlane.start()
            try await waitForAPI(controlPlane, stop)
            if !stop.isRequested, !node.hasPodsToAdopt { try await forgetStatuses() }
            if !stop.isRequested {
                try await NodeObject.register(
                    client, addresses: node.addresses, blocks: node.blocks,
                    networking: node.networking)
                try await node.start()
            }
            if !stop.isRequested { try await applyAll(manifests) }
            if try await waitUntilReady(manifests, stop) { try await showResult() }
        } catch {
            log.error("\(error.message)")
            reporter.progress("stopping after an error")
            await node.stop()
            guard !isTakingOver else {
                // Pods that served before this command was typed must not end because a file of it was refused.
                throw CommandError(
                    "\(error.message); what ran before goes on: skein up takes it over, skein down ends it")
            }
            await controlPlane.stop()
            do throws(CommandError) { try node.tearDown() } catch let second {
                throw CommandError("\(error.message)\n\(second.message)")
            }
            throw error
        }
        reporter.done(0)
        if options.reportDescriptor == nil, !stop.isRequested { reporter.out("\nCtrl-C stops it.") }
        await stop.wait()

        reporter.progress("stopping pods")
        await node.stop()
        reporter.progress("stopping the control plane")
        await controlPlane.stop()
        try node.tearDown()
        reporter.out("stopped")
        lock.end()
        return 0
    }

    /// Takes back what the last run said about pods that `skein down` has ended: none is ready before it runs again.
    private func forgetStatuses() async throws(CommandError) {
        let list = try await client.call(.get, "/api/v1/pods")
        guard list.isSuccess else { throw CommandError("Error from server: \(list.message)") }
        for item in list.json["items"]?.array ?? [] {
            let pod = KubernetesObject(json: item)
            guard pod.status["phase"]?.string == "Running", pod.spec["nodeName"]?.string == Environment.hostName else {
                continue
            }
            let status: JSON = [
                "status": ["phase": "Pending", "conditions": [], "containerStatuses": [], "initContainerStatuses": []]
            ]
            let path = ResourceKind.pod.path(namespace: pod.namespace, name: pod.name) + "/status"
            let answer = try await client.call(.patch, path, body: status, contentType: "application/merge-patch+json")
            // One that was deleted meanwhile has no status to take back.
            guard answer.isSuccess || answer.status == 404 else {
                throw CommandError("Error from server: \(answer.message)")
            }
        }
    }

    private func waitForAPI(_ controlPlane: ControlPlaneProcess, _ stop: StopRequest) async throws(CommandError) {
        let deadline = MonotonicTime.now + .seconds(20)
        while !stop.isRequested {
            // No answer yet is what we wait through.
            if let answer = try? await client.call(.get, "/readyz"), answer.isSuccess { return }
            let logFile = options.dataDirectory + "/log/control-plane.log"
            if !controlPlane.isRunning, let reason = Self.lastError(logFile) {
                throw CommandError("skein up: the control plane does not start: \(reason)")
            }
            guard MonotonicTime.now < deadline else {
                throw CommandError(
                    "skein up: the API does not answer: \(Self.lastError(logFile) ?? "see \(logFile)")")
            }
            await loop.sleep(for: .milliseconds(10))
        }
    }

    /// What the control plane said last.
    private static func lastError(_ file: String) -> String? {
        // For a message only: without it the message names the file.
        guard let text = try? File.text(file), let line = text.split(separator: "\n").last else { return nil }
        return String(line)
    }

    private func applyAll(_ manifests: [Manifest]) async throws(CommandError) {
        let (reporter, log) = (reporter, log)
        let quiet = Applier(client: client, report: { log.debug("\($0)") }, warn: { log.warning("\($0)") })
        try await quiet.apply(try BuiltIn.manifests())
        guard !manifests.isEmpty else { return }
        reporter.progress("applying \(manifests.count) objects")
        let applier = Applier(client: client, report: { log.info("\($0)") }, warn: { reporter.error("Warning: \($0)") })
        try await applier.apply(manifests)
    }

    // MARK: Ready

    /// Waits until every Deployment has its replicas ready; false when a stop was requested first.
    private func waitUntilReady(_ manifests: [Manifest], _ stop: StopRequest) async throws(CommandError) -> Bool {
        let deadline = MonotonicTime.now + Self.readyTimeout
        while !stop.isRequested {
            let progress = try await Readiness(client)
            reporter.progress(progress.line)
            if progress.isReady { return true }
            guard MonotonicTime.now < deadline else {
                reporter.error("not ready after \(Self.readyTimeout.components.seconds) s:")
                for problem in progress.problems { reporter.error("  \(problem)") }
                reporter.error("it goes on in the background; skein status and skein describe pods tell more")
                return true
            }
            await loop.sleep(for: .milliseconds(25))
        }
        return false
    }

    private func showResult() async throws(CommandError) {
        let overview = try await Overview(client, gateway: options.gatewayHTTP)
        reporter.out(overview.services.text.trimmingSuffix(while: \.isNewline) + "\n")
        for line in overview.addresses { reporter.out(line) }
    }
}

/// Whether somebody wants the supervisor to end.
///
/// `@unchecked Sendable`: used on the supervisor's loop only.
final class StopRequest: @unchecked Sendable {
    private(set) var isRequested = false
    private var waiter: CheckedContinuation<Void, Never>?

    /// Asks for the end.
    func request() {
        isRequested = true
        waiter?.resume()
        waiter = nil
    }

    /// Waits until the end is asked for.
    func wait() async {
        await withCheckedContinuation { continuation in
            guard !isRequested else { return continuation.resume() }
            waiter = continuation
        }
    }
}

extension String {
    /// The text without what stands at its end and fits.
    func trimmingSuffix(while isUnwanted: (Character) -> Bool) -> String {
        var text = self[...]
        while let last = text.last, isUnwanted(last) { text = text.dropLast() }
        return String(text)
    }
}
