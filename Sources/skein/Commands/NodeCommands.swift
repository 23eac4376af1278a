internal import HTTP
internal import IO
internal import Identity
internal import KubernetesAPI
internal import Network
internal import Serialization
internal import Telemetry

extension Command {
    static let node = Command(
        "node", "", "Make this machine a node of a control plane elsewhere",
        details: """
            The first time with a bootstrap token, which skein node token prints on the machine with the control plane; from then on the
            node has a certificate of its own in the data directory. Runs until Ctrl-C: pods go on, and the next skein node takes them
            over; skein down stops and removes them. Pods run here whose spec.nodeName is the node's name, and those of DaemonSets.
            """,
        flags: [
            NodeFlags.join, NodeFlags.token, NodeFlags.name, NodeFlags.address, NodeFlags.driver, NodeFlags.encryption,
            NodeFlags.wireGuardPort, NodeFlags.hostProbes,
            .dataDirectory, .runDirectory, UpOptions.images, UpOptions.logLevel,
        ]
    ) { invocation throws(CommandError) in
        let options = try UpOptions(invocation)
        if let name = invocation.value(UpOptions.logLevel) {
            guard let level = LogLevel(name: name) else {
                throw CommandError.usage("node", "--log-level \(name): not a level")
            }
            Logger.level = level
        }
        guard let text = invocation.value(NodeFlags.join), let server = ControlPlaneAddress(text) else {
            throw CommandError.usage("node", "--join https://HOST:PORT is needed")
        }
        var token: BootstrapToken?
        if let text = invocation.value(NodeFlags.token) {
            token = BootstrapToken(text)
            guard token != nil else {
                throw CommandError.usage("node", "--token: not a token, like abcdef.0123456789abcdef")
            }
        }
        let name = invocation.value(NodeFlags.name) ?? Environment.hostName.lowercased()
        let addresses = try NodeFlags.addresses(invocation, "node")
        try Preflight.check(options)
        let driver = try NodeFlags.driver(invocation, "node")
        try Preflight.makeDirectories(options)
        let encryption = try NodeEncryption.kept(options, "node")
        let lock = try RunLock(options)
        Environment.raiseDescriptorLimit()
        Signals.block([Signals.interrupt, Signals.terminate, Signals.hangup])
        let bootstrap = token
        try onLoop { loop throws(CommandError) in
            let stop = StopRequest()
            let source: SignalSource
            do throws(SystemError) {
                source = try SignalSource([Signals.interrupt, Signals.terminate], on: loop) { _ in stop.request() }
            } catch { throw CommandError(error) }
            defer { source.cancel() }
            let place = try await server.resolve(on: loop)
            let identity = try await identity(
                options, NodeJoining(server: server, address: place, loop: loop), name: name, bootstrap)
            let node = try JoinedNode(
                options, identity, server: place, driver: driver, encryption: encryption, addresses: addresses,
                on: loop)
            try await node.run(stop) {
                Console.out("node \(identity.name) is up with \(identity.server.text); Ctrl-C stops it, pods go on\n")
            }
        }
        lock.end()
        return 0
    }

    /// The identity that is kept, or a new one by the token.
    private static func identity(
        _ options: UpOptions, _ joining: NodeJoining, name: String, _ token: BootstrapToken?
    ) async throws(CommandError) -> NodeIdentity {
        if let kept = try NodeIdentity.kept(options.dataDirectory), kept.server == joining.server {
            guard kept.name == name else {
                throw CommandError(
                    "skein node: this machine is node \(kept.name) of \(kept.server.text); say --name \(kept.name), or another "
                        + "--data-dir")
            }
            let now = WallClock.now.seconds
            do throws(CommandError) {
                var renewed =
                    kept.notAfter > now ? try await joining.renew(kept) : try await rejoin(kept, joining, token)
                renewed.blocks = kept.blocks
                try renewed.keep(options.dataDirectory)
                return renewed
            } catch {
                // Without the control plane pods go on: what is kept does for as long as the certificate holds.
                guard kept.notAfter > now, !kept.blocks.isEmpty else { throw error }
                Logger("node").warning("the certificate was not renewed", ["error": error.message])
                if let token, let again = try? await joining.join(kept, token) {
                    try again.keep(options.dataDirectory)
                    return again
                }
                return kept
            }
        }
        guard let token else {
            throw CommandError(
                "skein node: this machine has no certificate of \(joining.server.text) yet; say --token TOKEN "
                    + "(skein node token prints one there)")
        }
        let identity = try await joining.join(name: name, token: token)
        try identity.keep(options.dataDirectory)
        return identity
    }

    private static func rejoin(
        _ kept: NodeIdentity, _ joining: NodeJoining, _ token: BootstrapToken?
    ) async throws(CommandError) -> NodeIdentity {
        guard let token else {
            throw CommandError("skein node: the certificate of \(kept.name) has expired; say --token TOKEN")
        }
        return try await joining.join(kept, token)
    }

    private static let lifetime = Flag("ttl", value: "HOURS", "how long it is good, 1 to 720 hours (default 24)")

    static let nodeToken = Command(
        "node token", "", "Make a bootstrap token with which machines join",
        details:
            "It is a Secret in kube-system; kubectl delete secret takes it back. Nodes that have joined do not need it.",
        flags: [lifetime, .dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        guard let hours = Int64(invocation.value(lifetime) ?? "24"), (1...720).contains(hours) else {
            throw CommandError.usage("node token", "--ttl: 1 to 720 hours")
        }
        guard let token = BootstrapToken(random: Environment.randomBytes(22)) else {
            throw CommandError("skein node token: no random bytes")
        }
        let end = Timestamp(seconds: WallClock.now.seconds + hours * 3600).secondsText
        let secret: JSON = [
            "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
            "metadata": ["name": .string("bootstrap-token-\(token.id)"), "namespace": "kube-system"],
            "stringData": [
                "token-id": .string(token.id), "token-secret": .string(token.secret), "expiration": .string(end),
                "usage-bootstrap-authentication": "true", "usage-bootstrap-signing": "true",
                "description": "skein node token",
            ],
        ]
        return try onLoop { loop throws(CommandError) in
            let client = KubernetesClient(runDirectory: invocation.runDirectory, on: loop)
            let made = try await client.call(.post, "/api/v1/namespaces/kube-system/secrets", body: secret)
            guard made.isSuccess else { throw CommandError("Error from server: \(made.message)") }
            Console.out(token.text + "\n")
            return 0
        }
    }
}
