internal import IO

extension Attachment {
    /// GC: removes what belongs to no valid attachment; goes on when something fails, and reports that at the end (N-10).
    func collect() throws(CNIError) {
        let valid = configuration.validAttachments ?? []
        let keys = Set(valid.map(\.key))
        var failures: [CNIError] = []
        func attempt(_ body: () throws(CNIError) -> Void) {
            do throws(CNIError) { try body() } catch { failures.append(error) }
        }
        // Links first: nobody is given an address that somebody still has.
        attempt { () throws(CNIError) in
            try collectLinks(
                Set(valid.map { Attachment.note(network: configuration.name, owner: $0) }),
                Set(valid.map(\.hostLink)))
        }
        attempt { () throws(CNIError) in try collectAddresses(keys) }
        attempt { () throws(CNIError) in
            try collectRules(Set(valid.map { Attachment.note(network: configuration.name, owner: $0) }))
        }
        if case .delegated(let type)? = configuration.ipam?.kind {
            attempt { () throws(CNIError) in
                try DelegatedIPAM(type: type, request: request, configuration: configuration).run(.collect)
            }
        }
        if valid.isEmpty { attempt { () throws(CNIError) in try removeNetwork() } }
        guard let first = failures.first else { return }
        throw CNIError(first.code, failures.map(\.message).joined(separator: "; "), delegated: first.delegated)
    }

    /// Links that say whose they are, and those of a call that ended before it could say so: they are in a group of this network,
    /// or (from an earlier version, in no group) in its bridge.
    private func collectLinks(_ valid: Set<String>, _ validNames: Set<String>) throws(CNIError) {
        let prefix = Attachment.notePrefix(configuration.name)
        try reporting { () throws(SystemError) in
            let links = try host.links()
            let waiting = Set(validNames.map(Attachment.waitingLink(ofHostLink:)))
            let bridge = links.first {
                configuration.driver.hasBridge && $0.kind == "bridge" && $0.name == configuration.link.bridge
            }
            for link in links {
                let isLost: Bool
                if !link.alias.isEmpty {
                    isLost = link.alias.hasPrefix(prefix) && !valid.contains(link.alias)
                } else if link.kind == "veth", AttachmentOwner.isHostLink(link.name) {
                    let isOurs = link.group == unnamedGroup || link.group == 0 && bridge?.index == link.master
                    isLost = isOurs && !validNames.contains(link.name)
                } else {
                    isLost =
                        link.kind == "ifb" && link.group == unnamedGroup && link.name.hasPrefix("ski")
                        && !waiting.contains(link.name)
                }
                if isLost { try host.delete(link.index) }
            }
        }
    }

    private func collectAddresses(_ valid: Set<UInt128>) throws(CNIError) {
        guard let ipam = configuration.ipam, ipam.kind == .local else { return }
        let store = try AddressStore(ipam, network: configuration.name)
        for held in try store.everythingHeld() where !valid.contains(held.key) {
            // A call that ended early may have made the link and not yet its alias.
            try reporting { () throws(SystemError) in
                for name in [AttachmentOwner.hostLink(held.key), Attachment.waitingLink(held.key)] {
                    if let link = try host.link(name) { try host.delete(link.index) }
                }
            }
            _ = try store.release(key: held.key, note: held.note, now: .now)
        }
    }

    private func collectRules(_ valid: Set<String>) throws(CNIError) {
        let prefix = Attachment.notePrefix(configuration.name)
        try reporting { () throws(SystemError) in
            let socket = try RuleSocket()
            for table in RuleTable.all {
                for set in table.sets {
                    let lost = try socket.elements(of: set.name, in: table).filter {
                        $0.note.hasPrefix(prefix) && !valid.contains($0.note)
                    }
                    try socket.remove(lost, from: table)
                }
            }
        }
    }

    /// STATUS: whether ADD can be served (N-10).
    func status() throws(CNIError) {
        guard let ipam = configuration.ipam else { return }
        if case .delegated(let type) = ipam.kind {
            try DelegatedIPAM(type: type, request: request, configuration: configuration).run(.status)
            return
        }
        let store: AddressStore
        let held: Set<IPAddress>
        do throws(CNIError) {
            store = try AddressStore(ipam, network: configuration.name)
            held = Set(try store.everythingHeld().map(\.address))
        } catch {
            throw CNIError(.notAvailable, error.message)
        }
        for set in ipam.ranges {
            let room = set.reduce(0) { sum, range in
                sum &+ min(1 << 20, range.end.distance(from: range.start) ?? 1 << 20) &+ 1
            }
            // The gateway, where it lies inside, is nobody's.
            let gateways = set.filter { range in set.contains { $0.holds(range.gateway) } }.map(\.gateway)
            let taken = held.count { address in set.contains { $0.holds(address) } } + Set(gateways).count
            guard taken < room else {
                let names = set.map { "\($0.start)-\($0.end)" }.joined(separator: ", ")
                throw CNIError(.notAvailable, "no address is left in \(names)")
            }
        }
    }
}
