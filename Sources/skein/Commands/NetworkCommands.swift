internal import HTTP
internal import IO
internal import KubernetesAPI
internal import Serialization
internal import Workloads

// `skein network …`: Docker's words, without Docker.
extension Command {
    private static let driver = Flag("driver", short: "d", value: "DRIVER", "bridge (default), overlay or macvlan")
    private static let subnet = Flag("subnet", value: "CIDR", "addresses of the network; may be repeated")
    private static let range = Flag(
        "ip-range", value: "CIDR", "the part of the subnet that containers get addresses from")
    private static let gateway = Flag("gateway", value: "ADDRESS", "this machine's address in the subnet")
    private static let other = Flag("aux-address", value: "NAME=ADDRESS", "an address that no container gets")
    private static let isInternal = Flag("internal", "no way out of the network, and none in")
    private static let v6 = Flag("ipv6", "IPv6 addresses, too")
    private static let option = Flag(
        "opt", short: "o", value: "NAME=VALUE", "an option of the driver, as for Docker's own")
    private static let label = Flag("label", value: "NAME=VALUE", "a label, shown by inspect")
    static let quiet = Flag("quiet", short: "q", "only ids")
    static let untruncated = Flag("no-trunc", "ids and commands in full")
    private static let ip = Flag("ip", value: "ADDRESS", "the container's IPv4 address")
    private static let ip6 = Flag("ip6", value: "ADDRESS", "the container's IPv6 address")
    private static let alias = Flag("alias", value: "NAME", "another name of the container on this network")
    private static let force = Flag("force", short: "f", "a network or container that is not there is no failure")

    static let networkCreate = Command(
        "network create", "NETWORK", "Make a network for containers of skein run",
        details: """
            The containers of a network reach each other by address and by name; containers of other networks do not reach them. Without
            --subnet the network gets 256 free addresses out of 10.208.0.0/12. Networks are this machine's; they outlive skein down.
            """,
        flags: [
            driver, subnet, range, gateway, other, isInternal, v6, option, label, .dataDirectory, .runDirectory,
        ]
    ) { invocation throws(CommandError) in
        guard invocation.operands.count == 1, let name = invocation.operands.first else {
            throw CommandError.usage("network create", "requires exactly 1 argument")
        }
        var request: JSON = [
            "Name": .string(name), "Driver": .string(invocation.value(driver) ?? "bridge"),
            "Internal": .bool(invocation.has(isInternal)), "EnableIPv6": .bool(invocation.has(v6)),
            "Options": try pairs(invocation.all(option)), "Labels": try pairs(invocation.all(label)),
        ]
        request["IPAM"] = ["Config": .array(try subnets(invocation))]
        let ready = request
        return try onLoop { loop throws(CommandError) in
            let answer = try await NodeClient(runDirectory: invocation.runDirectory, on: loop)
                .ask(.post, "/networks/create", ready)
            Console.out((answer["Id"]?.string ?? "") + "\n")
            return 0
        }
    }

    private static func pairs(_ texts: [String]) throws(CommandError) -> JSON {
        var members: [String: JSON] = [:]
        for text in texts {
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            members[parts[0]] = .string(parts.count > 1 ? parts[1] : "")
        }
        return .object(members)
    }

    /// Gateways, ranges and kept addresses go to the subnets that they are in, in the order given.
    private static func subnets(_ invocation: Invocation) throws(CommandError) -> [JSON] {
        var entries: [(prefix: Prefix, json: JSON)] = []
        for text in invocation.all(subnet) {
            guard let prefix = Prefix(text) else {
                throw CommandError("invalid subnet \(text): a network like 10.1.0.0/16 is expected")
            }
            entries.append((prefix, ["Subnet": .string(text)]))
        }
        func add(_ flag: Flag, _ key: String, _ text: String, _ address: String, _ value: JSON) throws(CommandError) {
            let word = String(address.prefix { $0 != "/" })
            guard let address = IPAddress(word), let index = entries.firstIndex(where: { $0.prefix.contains(address) })
            else { throw CommandError("no matching subnet for \(flag.name) \(text)") }
            guard flag.name == other.name else {
                guard entries[index].json[key] == nil else {
                    throw CommandError("cannot configure multiple \(flag.name)s (\(text)) for the same subnet")
                }
                entries[index].json[key] = value
                return
            }
            var others = entries[index].json[key]?.object ?? [:]
            others[String(text.prefix { $0 != "=" })] = value
            entries[index].json[key] = .object(others)
        }
        for text in invocation.all(range) { try add(range, "IPRange", text, text, .string(text)) }
        for text in invocation.all(gateway) { try add(gateway, "Gateway", text, text, .string(text)) }
        for text in invocation.all(other) {
            let address = String(text.drop { $0 != "=" }.dropFirst())
            try add(other, "AuxiliaryAddresses", text, address, .string(address))
        }
        return entries.map(\.json)
    }

    static let networkList = Command(
        "network ls", "", "Show networks", flags: [quiet, untruncated, .output, .dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        try onLoop { loop throws(CommandError) in
            let list = try await NodeClient(runDirectory: invocation.runDirectory, on: loop).ask(.get, "/networks")
            switch invocation.value(.output) ?? "table" {
            case "json": Console.out(list.pretty + "\n")
            case "table":
                let rows = (list.array ?? []).map { network in
                    let id = network["Id"]?.string ?? ""
                    return [invocation.has(untruncated) ? id : String(id.prefix(12))]
                        + ["Name", "Driver", "Scope"].map { network[$0]?.string ?? "" }
                }
                Console.out(
                    invocation.has(quiet)
                        ? rows.map { $0[0] + "\n" }.joined()
                        : TextTable(header: ["NETWORK ID", "NAME", "DRIVER", "SCOPE"], rows: rows).text)
            case let other: throw CommandError.usage("network ls", "--output \(other): table or json")
            }
            return 0
        }
    }

    static let networkInspect = Command(
        "network inspect", "NETWORK [NETWORK...]", "Show networks with their containers, as JSON",
        flags: [.dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        guard !invocation.operands.isEmpty else {
            throw CommandError.usage("network inspect", "requires at least 1 argument")
        }
        return try onLoop { loop throws(CommandError) in
            let client = NodeClient(runDirectory: invocation.runDirectory, on: loop)
            let found = Found()
            let status = await forEach(invocation.operands) { name throws(CommandError) in
                let answer = try await client.call(.get, NodeClient.path("networks", name))
                guard answer.isSuccess else {
                    throw CommandError(
                        answer.status == 404 ? "Error: No such network: \(name)" : "Error: \(answer.message)")
                }
                found.networks.append(answer.json)
            }
            Console.out(JSON.array(found.networks).pretty + "\n")
            return status
        }
    }

    /// `@unchecked Sendable`: on one loop.
    private final class Found: @unchecked Sendable { var networks: [JSON] = [] }

    static let networkConnect = Command(
        "network connect", "NETWORK CONTAINER", "Put a container that runs on one more network",
        details: "It gets one more interface, and is known by its name to the containers there.",
        flags: [ip, ip6, alias, .dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        guard invocation.operands.count == 2 else {
            throw CommandError.usage("network connect", "requires exactly 2 arguments")
        }
        var addresses: JSON = [:]
        if let text = invocation.value(ip) { addresses["IPv4Address"] = .string(text) }
        if let text = invocation.value(ip6) { addresses["IPv6Address"] = .string(text) }
        let endpoint: JSON = [
            "IPAMConfig": addresses, "Aliases": .array(invocation.all(alias).map { .string($0) }),
        ]
        return try onLoop { loop throws(CommandError) in
            try await change("connect", invocation, ["EndpointConfig": endpoint], on: loop)
            return 0
        }
    }

    static let networkDisconnect = Command(
        "network disconnect", "NETWORK CONTAINER", "Take a container that runs off a network",
        flags: [force, .dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        guard invocation.operands.count == 2 else {
            throw CommandError.usage("network disconnect", "requires exactly 2 arguments")
        }
        return try onLoop { loop throws(CommandError) in
            do throws(CommandError) { try await change("disconnect", invocation, [:], on: loop) } catch {
                guard invocation.has(force), error.status == 1 else { throw error }
            }
            return 0
        }
    }

    private static func change(
        _ verb: String, _ invocation: Invocation, _ body: JSON, on loop: EventLoop
    ) async throws(CommandError) {
        let client = KubernetesClient(runDirectory: invocation.runDirectory, on: loop)
        let containers = try await ContainerList.load(client)
        let container = try containers.find(invocation.operands[1])
        var request = body
        request["Container"] = .string(container.name)
        let node = NodeClient(runDirectory: invocation.runDirectory, on: loop)
        // By its name: the id may be another when the container is made anew.
        let network = try await node.ask(.get, NodeClient.path("networks", invocation.operands[0]))["Name"]?.string
        guard let network else {
            throw CommandError("Error response from daemon: network \(invocation.operands[0]) not found")
        }
        _ = try await node.ask(.post, NodeClient.path("networks", network, verb), request)
        try await remember(
            container.name, verb == "connect" ? entry(network, invocation) : nil, leaving: network, client)
    }

    private static func entry(_ network: String, _ invocation: Invocation) -> JSON {
        var entry: JSON = ["name": .string(network), "aliases": .array(invocation.all(alias).map { .string($0) })]
        if let text = invocation.value(ip) { entry["ip"] = .string(text) }
        if let text = invocation.value(ip6) { entry["ip6"] = .string(text) }
        return entry
    }

    /// Writes a container's networks into its pod, for the time when it is made anew (skein down and up, another start of the machine).
    private static func remember(
        _ name: String, _ entry: JSON?, leaving network: String, _ client: KubernetesClient
    ) async throws(CommandError) {
        let path = ResourceKind.pod.path(namespace: "default", name: name)
        let pod = try await client.call(.get, path)
        guard let text = pod.json["metadata"]?["annotations"]?["skein.dev/networks"]?.string,
            let newer = RunWish.networksText(text, connecting: entry, leaving: network)
        else { return }
        let answer = try await client.call(
            .patch, path, body: ["metadata": ["annotations": ["skein.dev/networks": .string(newer)]]],
            contentType: "application/merge-patch+json")
        guard answer.isSuccess else { throw CommandError("Error response from daemon: \(answer.message)") }
    }

    static let networkRemove = Command(
        "network rm", "NETWORK [NETWORK...]", "Remove networks without containers",
        flags: [force, .dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        guard !invocation.operands.isEmpty else {
            throw CommandError.usage("network rm", "requires at least 1 argument")
        }
        return try onLoop { loop throws(CommandError) in
            let client = NodeClient(runDirectory: invocation.runDirectory, on: loop)
            return await forEach(invocation.operands) { name throws(CommandError) in
                let answer = try await client.call(.delete, NodeClient.path("networks", name))
                if answer.status == 404 {
                    guard !invocation.has(force) else { return }
                    throw CommandError("Error: No such network: \(name)")
                }
                guard answer.isSuccess else { throw CommandError("Error response from daemon: \(answer.message)") }
                Console.out(name + "\n")
            }
        }
    }
}
