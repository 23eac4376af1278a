internal import IO
internal import Mesh
internal import Network
internal import Serialization
internal import Workloads

extension Command {
    private static let header = Flag(
        "header", short: "H", value: "'NAME: VALUE'", "a header of the request; again for more")
    private static let seed = Flag("seed", value: "N", "what weights and percentages are drawn from (default 1)")
    private static let answer = Flag(
        "answer", value: "STATUS,…",
        "what follows if the program answers so: 503, grpc:14, or connect-failure, reset, reset-before-request, refused-stream, timeout; the last one holds for all later tries"
    )
    private static let format = Flag("output", short: "o", value: "text|json", "how to print (default text)")

    private static let packet = Flag(
        "packet", "FROM TO PORT[/udp]: what network policies do with a connection, and which object says so")

    static let explain = Command(
        "explain", "FROM TO [METHOD] [PATH]", "Say what becomes of a request in the mesh, and why",
        details: """
            FROM is a pod (POD[.NAMESPACE]), deployment/NAME, serviceaccount/NAME, or a request from outside: gateway, or
            gateway/NAME[.NAMESPACE] at the own address of a Gateway of the Gateway API. TO is a host with or without port, service/NAME, or a URL. The first line is the verdict; then come source, names, the caller's proxy (listener,
            chain, virtual host, route and why earlier ones did not match, cluster, hosts, timeouts, retries, mutual TLS) and the proxy at
            the destination (chain, policies, route), each decision with the object and field that made it, and the line of the file that
            it was applied from. The proxies themselves decide, with the code that serves, and what is the case now counts: circuit
            breakers, ejected hosts, certificates, a control plane that is gone. Nothing is sent to any program. With --answer 503
            it is told which tries would be followed by another, why, and what the caller gets in the end.

            With --packet FROM TO PORT[/udp|/sctp] it is the network policies that are asked: FROM and TO are pods or addresses, TO may be
            service/NAME. It names the rule that lets the connection through at each end, or the policies that drop it, and what this
            node has counted there.

            Exit status: 0 a program would answer; 1 none would (a proxy refuses, or answers itself); 2 wrong usage.
            """,
        flags: [header, packet, .namespace, answer, seed, format, .dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        guard let from = invocation.operands.first, invocation.operands.count >= 2 else {
            throw CommandError.usage("explain", "needs FROM and TO")
        }
        let output = invocation.value(format) ?? "text"
        guard output == "text" || output == "json" else {
            throw CommandError.usage("explain", "--output \(output): neither text nor json")
        }
        if invocation.has(packet) { return try explainPacket(invocation, isJSON: output == "json") }
        let target = try ExplainTarget(Array(invocation.operands.dropFirst()), headers: invocation.all(header))
        return try onLoop { loop throws(CommandError) in
            let client = KubernetesClient(runDirectory: invocation.runDirectory, on: loop)
            let objects = try await KnownObjects.load(client, dataDirectory: invocation.dataDirectory)
            do throws(CommandError) {
                let entrance = try GatewayEntrance.find(
                    from, target, in: objects, namespace: invocation.value(.namespace))
                let pod =
                    if let entrance { entrance.pod } else {
                        try objects.pod(from, namespace: invocation.value(.namespace))
                    }
                let explainer = MeshExplainer(
                    objects: objects, files: ObjectFiles(objects),
                    admin: ProxyAdmin(runDirectory: invocation.runDirectory, loop: loop), client: client,
                    seed: invocation.value(seed), answer: invocation.value(answer))
                let explanation = await explainer.explain(from: pod, target, at: entrance)
                Console.out(output == "json" ? explanation.json.pretty + "\n" : explanation.text)
                return explanation.verdict.isAnswered ? 0 : 1
            } catch {
                throw CommandError(error.message, status: 2)
            }
        }
    }
    private static func explainPacket(_ invocation: Invocation, isJSON: Bool) throws(CommandError) -> Int32 {
        try onLoop { loop throws(CommandError) in
            let client = KubernetesClient(runDirectory: invocation.runDirectory, on: loop)
            let objects = try await KnownObjects.load(
                client, dataDirectory: invocation.dataDirectory, also: ExplainPacket.kinds)
            let explainer = ExplainPacket(
                objects: objects, files: ObjectFiles(objects), namespace: invocation.value(.namespace))
            let found = try explainer.explain(invocation.operands)
            if isJSON {
                Console.out(JSON.array(found.map(\.json)).pretty + "\n")
            } else {
                // On another machine, or without the right, nothing has been counted as far as we see.
                let counters = (try? PolicyCounter.read()) ?? []
                Console.out(found.map { $0.text(place: explainer.place, counters: counters) }.joined())
            }
            return found.allSatisfy(\.isAllowed) ? 0 : 1
        }
    }
}
