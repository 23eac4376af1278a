internal import IO

/// The tables of the plugin: one for each purpose.
///
/// A packet is looked up in sets and maps, so that its cost does not depend on how many containers there are. Names do not begin
/// with `skein_`: those tables are the node's, and go with it.
extension RuleTable {
    /// What leaves the network gets an address of the host (`ipMasq`).
    static let masquerade: RuleTable = {
        var table = RuleTable(
            name: "skeincni_masquerade", purpose: "skein-cni: the way out",
            chains: [Chain(name: "postrouting", type: "nat", hook: 4, priority: 100)], sets: [], rules: [])
        for isV6 in [false, true] {
            let end = isV6 ? "6" : "4"
            table.sets += [pods(isV6), local(isV6)]
            // Multicast stays as it is: 224.0.0.0/4, ff00::/8.
            let rest = [UInt8](repeating: 0, count: isV6 ? 15 : 3)
            table.rules.append(
                Rule(
                    "postrouting",
                    .family(isV6: isV6) + .pair(isV6: isV6) + [
                        .lookup(set: "pods\(end)", register: 0, inverted: false),
                        .lookup(set: "local\(end)", register: 0, inverted: true),
                    ] + .destination(isV6: isV6, 0) + [
                        .mask(register: 0, [isV6 ? 0xff : 0xf0] + rest),
                        .compare(register: 0, isEqual: false, [isV6 ? 0xff : 0xe0] + rest), .masquerade,
                    ]))
        }
        return table
    }()

    /// Containers of different networks do not reach each other; published ports stay reachable.
    static let isolation: RuleTable = {
        var table = RuleTable(
            name: "skeincni_isolation", purpose: "skein-cni: networks apart, no forged sources",
            chains: [
                Chain(name: "source", type: "filter", hook: 0, priority: -300),
                Chain(name: "forward", type: "filter", hook: 2, priority: 0),
            ], sets: [],
            rules: [
                // A routed container speaks from its own address: the way back to the source is the link it came from.
                Rule(
                    "source",
                    [
                        .meta(.inputGroup, register: 0),
                        .compare(register: 0, isEqual: true, number(LinkGroup.routed)), .reverseDevice(register: 0),
                        .compare(register: 0, isEqual: true, [0, 0, 0, 0]), .count, .drop,
                    ])
            ])
        for isV6 in [false, true] {
            let end = isV6 ? "6" : "4"
            table.sets += [pods(isV6), local(isV6)]
            table.rules.append(
                Rule(
                    "forward",
                    .family(isV6: isV6) + [
                        .connectionStatus(register: 0), .mask(register: 0, number(0x20)),
                        .compare(register: 0, isEqual: true, [0, 0, 0, 0]),
                    ] + .pair(isV6: isV6) + [
                        .lookup(set: "pods\(end)", register: 0, inverted: false),
                        .lookup(set: "pods\(end)", register: isV6 ? 4 : 1, inverted: false),
                        .lookup(set: "local\(end)", register: 0, inverted: true), .count, .drop,
                    ]))
        }
        return table
    }()

    /// Ports of the host that lead to containers.
    static let ports: RuleTable = {
        var table = RuleTable(
            name: "skeincni_ports", purpose: "skein-cni: published ports",
            chains: [
                Chain(name: "loopback", type: "filter", hook: 0, priority: -300),
                Chain(name: "prerouting", type: "nat", hook: 0, priority: -100),
                Chain(name: "output", type: "nat", hook: 3, priority: -100),
                Chain(name: "postrouting", type: "nat", hook: 4, priority: 99),
            ], sets: [Elements(name: "loopback", key: [.device])],
            rules: [
                // route_localnet, which loopback ports need, must not open the host's own loopback services (CVE-2020-8558).
                Rule(
                    "loopback",
                    .family(isV6: false) + [
                        .meta(.inputName, register: 0), .lookup(set: "loopback", register: 0, inverted: false),
                        .payload(base: 1, offset: 16, length: 4, register: 0), .mask(register: 0, [0xff, 0, 0, 0]),
                        .compare(register: 0, isEqual: true, [127, 0, 0, 0]), .count, .drop,
                    ])
            ])
        for isV6 in [false, true] {
            let end = isV6 ? "6" : "4"
            let part: Elements.Part = isV6 ? .v6 : .v4
            let value = 0..<part.length
            table.sets += [
                Elements(name: "any\(end)", key: [.transport, .port], value: [part, .port], address: value),
                Elements(name: "at\(end)", key: [.transport, part, .port], value: [part, .port], address: value),
                Elements(name: "own\(end)", key: [part], address: value),
                Elements(
                    name: "hairpin\(end)", key: [part, part], hasRanges: true, address: part.length..<(2 * part.length)),
            ]
            let port = Expression.payload(base: 2, offset: 2, length: 2, register: 1)
            // The value fills the registers from 8: address, then port.
            let translate = Expression.translateDestination(isV6: isV6, address: 8, port: isV6 ? 12 : 9)
            for chain in ["prerouting", "output"] {
                table.rules += [
                    Rule(
                        chain,
                        .family(isV6: isV6) + [.meta(.transport, register: 0)]
                            + .destination(isV6: isV6, 1)
                            + [
                                .payload(base: 2, offset: 2, length: 2, register: isV6 ? 5 : 2),
                                .find(map: "at\(end)", register: 0, into: 8), translate,
                            ]),
                    Rule(
                        chain,
                        .family(isV6: isV6) + [
                            .destinationType(register: 0), .compare(register: 0, isEqual: true, number(2)),
                            .meta(.transport, register: 0), port, .find(map: "any\(end)", register: 0, into: 8),
                            translate,
                        ]),
                ]
            }
            if !isV6 {
                // From the host's loopback: the container cannot answer to such an address.
                table.rules.append(
                    Rule(
                        "postrouting",
                        .family(isV6: false) + .isTranslated + .source(isV6: false, 0) + [
                            .mask(register: 0, [0xff, 0, 0, 0]), .compare(register: 0, isEqual: true, [127, 0, 0, 0]),
                        ] + .destination(isV6: false, 0) + [
                            .lookup(set: "own4", register: 0, inverted: false), .masquerade,
                        ]))
            }
            // From the container's own network, itself included (N-13): the answer must come back by the host.
            table.rules.append(
                Rule(
                    "postrouting",
                    .family(isV6: isV6) + .isTranslated + .pair(isV6: isV6) + [
                        .lookup(set: "hairpin\(end)", register: 0, inverted: false), .masquerade,
                    ]))
        }
        return table
    }()

    /// Networks that nothing leaves or enters (Docker's `--internal`); what this machine itself sends is not forwarded.
    static let enclosure: RuleTable = {
        var table = RuleTable(
            name: "skeincni_enclosure", purpose: "skein-cni: internal networks",
            chains: [Chain(name: "forward", type: "filter", hook: 2, priority: 0)], sets: [], rules: [])
        for isV6 in [false, true] {
            let end = isV6 ? "6" : "4"
            table.sets += [pods(isV6), local(isV6)]
            // Out, then in: an answer is a packet like any other.
            let pairs: [[Expression]] = [
                .pair(isV6: isV6), .destination(isV6: isV6, 0) + .source(isV6: isV6, isV6 ? 4 : 1),
            ]
            for pair in pairs {
                table.rules.append(
                    Rule(
                        "forward",
                        .family(isV6: isV6) + pair + [
                            .lookup(set: "pods\(end)", register: 0, inverted: false),
                            .lookup(set: "local\(end)", register: 0, inverted: true), .count, .drop,
                        ]))
            }
        }
        return table
    }()

    /// Containers of an engine and those on bridges of others (the engine's own networks) do not reach each other; published
    /// ports stay reachable.
    static let seclusion: RuleTable = {
        var table = RuleTable(
            name: "skeincni_seclusion", purpose: "skein-cni: apart from bridges of others",
            chains: [Chain(name: "forward", type: "filter", hook: 2, priority: 0)], sets: [], rules: [])
        // A device's kind as a register holds it: 16 bytes.
        let bridge = Array("bridge".utf8) + [UInt8](repeating: 0, count: 10)
        for isV6 in [false, true] {
            let end = isV6 ? "6" : "4"
            table.sets += [pods(isV6), local(isV6)]
            let ways: [(pair: [Expression], kind: Expression.Meta)] = [
                (.pair(isV6: isV6), .outputKind),
                (.destination(isV6: isV6, 0) + .source(isV6: isV6, isV6 ? 4 : 1), .inputKind),
            ]
            for way in ways {
                table.rules.append(
                    Rule(
                        "forward",
                        .family(isV6: isV6) + [
                            .connectionStatus(register: 0), .mask(register: 0, number(0x20)),
                            .compare(register: 0, isEqual: true, [0, 0, 0, 0]),
                        ] + way.pair + [
                            .lookup(set: "pods\(end)", register: 0, inverted: false),
                            .lookup(set: "local\(end)", register: 0, inverted: true),
                            .meta(way.kind, register: 0), .compare(register: 0, isEqual: true, bridge), .count, .drop,
                        ]))
            }
        }
        return table
    }()

    /// Tunnels take frames from their own machines only; tunnels of others on the same port are none of its business.
    static let tunnels: RuleTable = {
        var table = RuleTable(
            name: "skeincni_tunnels", purpose: "skein-cni: who may send into tunnels",
            chains: [Chain(name: "input", type: "filter", hook: 1, priority: 0)], sets: [], rules: [])
        for isV6 in [false, true] {
            let end = isV6 ? "6" : "4"
            table.sets += [
                Elements(name: "tunnels\(end)", key: [.tunnel, .port]),
                Elements(name: "peers\(end)", key: [.tunnel, .port, isV6 ? .v6 : .v4]),
            ]
            table.rules.append(
                Rule(
                    "input",
                    .family(isV6: isV6) + [
                        .meta(.transport, register: 0), .compare(register: 0, isEqual: true, [17]),
                        // Behind the UDP header: VXLAN's flags, then the number.
                        .payload(base: 2, offset: 12, length: 4, register: 0),
                        .payload(base: 2, offset: 2, length: 2, register: 1),
                    ] + .source(isV6: isV6, 2) + [
                        .lookup(set: "tunnels\(end)", register: 0, inverted: false),
                        .lookup(set: "peers\(end)", register: 0, inverted: true), .count, .drop,
                    ]))
        }
        return table
    }()

    static let all = [masquerade, isolation, ports, enclosure, seclusion, tunnels]

    private static func pods(_ isV6: Bool) -> Elements {
        Elements(name: isV6 ? "pods6" : "pods4", key: [isV6 ? .v6 : .v4], address: 0..<(isV6 ? 16 : 4))
    }

    /// Pairs of a container and its network.
    private static func local(_ isV6: Bool) -> Elements {
        let part: Elements.Part = isV6 ? .v6 : .v4
        return Elements(
            name: isV6 ? "local6" : "local4", key: [part, part], hasRanges: true, address: 0..<part.length)
    }

    /// A number as a register holds it: in the machine's byte order.
    private static func number(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value) { [UInt8]($0) } }
}

/// Groups of links, by which rules know them.
enum LinkGroup {
    /// Host ends of the driver `routed`.
    static let routed: UInt32 = 7536
    /// The bridges of the node's own networks, which its pods do not reach.
    static let apart: UInt32 = 7537

    /// Links of an owner (what its notes begin with) that have no alias yet.
    ///
    /// A new link takes a group together with all else, and an alias only afterwards: by it is known what a call that was ended in
    /// between has left.
    static func unnamed(_ owner: String) -> UInt32 {
        let hash = AttachmentOwner(containerID: owner, interface: "").key
        // ip(8) takes no number beyond 31 bits.
        return 1 << 30 | UInt32(truncatingIfNeeded: hash >> 64) & 0x3fff_ffff
    }
}

/// The elements of one container.
enum ContainerElements {
    /// Its address and its network: for the way out and for isolation.
    static func member(_ address: InterfaceAddress, network: Prefix, note: String) -> [RuleElement] {
        let end = address.address.isV6 ? "6" : "4"
        let bytes = address.address.bytes
        return [
            RuleElement(set: "pods\(end)", key: bytes, note: note),
            RuleElement(
                set: "local\(end)", key: bytes + network.address.bytes, keyEnd: bytes + network.last.bytes, note: note),
        ]
    }

    /// Its published ports.
    static func ports(
        _ mappings: [PortMapping], _ address: InterfaceAddress, network: Prefix, mapsSource: Bool, note: String
    ) -> [RuleElement] {
        let isV6 = address.address.isV6
        let end = isV6 ? "6" : "4"
        let bytes = address.address.bytes
        var result: [RuleElement] = []
        for mapping in mappings where mapping.hostAddress.map({ $0.isV6 == isV6 }) ?? true {
            let value = bytes + port(mapping.containerPort)
            let transport = [mapping.transport, 0, 0, 0]
            if let host = mapping.hostAddress {
                result.append(
                    RuleElement(
                        set: "at\(end)", key: transport + host.bytes + port(mapping.hostPort), value: value, note: note)
                )
            } else {
                result.append(
                    RuleElement(set: "any\(end)", key: transport + port(mapping.hostPort), value: value, note: note))
            }
        }
        guard !result.isEmpty, mapsSource else { return result }
        result.append(RuleElement(set: "own\(end)", key: bytes, note: note))
        result.append(
            RuleElement(
                set: "hairpin\(end)", key: network.address.bytes + bytes, keyEnd: network.last.bytes + bytes, note: note
            ))
        return result
    }

    /// A port, padded to four bytes as a part of a key is.
    private static func port(_ number: UInt16) -> [UInt8] {
        [UInt8(truncatingIfNeeded: number >> 8), UInt8(truncatingIfNeeded: number), 0, 0]
    }
}
