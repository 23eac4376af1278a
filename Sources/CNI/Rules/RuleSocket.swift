internal import Glibc
internal import IO
internal import Netlink

/// Elements of the plugin's tables in one network namespace.
final class RuleSocket: Sendable {
    private let channel: NetlinkChannel

    /// Opens it in the namespace of the calling thread.
    init() throws(SystemError) { channel = try NetlinkChannel(NetlinkChannel.netfilter) }

    /// Adds elements in one transaction, and makes the table when it is not there.
    ///
    /// EEXIST when somebody else has one of them.
    func add(_ elements: [RuleElement], to table: RuleTable) throws(SystemError) {
        guard !elements.isEmpty else { return }
        let additions = elements.map { RuleMessages.element($0, of: table.name, adds: true) }
        do throws(NetlinkRefusal) { try channel.transaction(additions) } catch {
            guard error.error.errno == ENOENT else { throw error.error }
            do throws(NetlinkRefusal) {
                try channel.transaction(RuleMessages.make(table) + additions)
            } catch {
                // Somebody else has made the table meanwhile, or the element is taken.
                guard error.error.errno == EEXIST else { throw error.error }
                do throws(NetlinkRefusal) { try channel.transaction(additions) } catch { throw error.error }
            }
        }
    }

    /// Removes every element that stands for one of those addresses; harmless when there is none.
    @discardableResult
    func remove(_ addresses: Set<IPAddress>, from table: RuleTable) throws(SystemError) -> [RuleElement] {
        let held = Set(addresses.map(\.bytes))
        return try remove(from: table) { held.contains($0) }
    }

    /// Removes the elements whose container's address meets a condition.
    @discardableResult
    func remove(from table: RuleTable, where matches: ([UInt8]) -> Bool) throws(SystemError) -> [RuleElement] {
        var found: [RuleElement] = []
        for set in table.sets {
            guard let place = set.address else { continue }
            for element in try elements(of: set.name, in: table) {
                let bytes = set.value.isEmpty ? element.key : element.value
                guard place.upperBound <= bytes.count, matches(Array(bytes[place])) else { continue }
                found.append(element)
            }
        }
        try remove(found, from: table)
        return found
    }

    /// Removes elements; those that are gone already are well.
    func remove(_ elements: [RuleElement], from table: RuleTable) throws(SystemError) {
        guard !elements.isEmpty else { return }
        let removals = elements.map { RuleMessages.element($0, of: table.name, adds: false) }
        do throws(NetlinkRefusal) { try channel.transaction(removals) } catch {
            guard error.error.errno == ENOENT else { throw error.error }
            for removal in removals {
                do throws(NetlinkRefusal) { try channel.transaction([removal]) } catch {
                    guard error.error.errno == ENOENT else { throw error.error }
                }
            }
        }
    }

    /// The elements of a set; none when there is no such table.
    func elements(of set: String, in table: RuleTable) throws(SystemError) -> [RuleElement] {
        do throws(SystemError) {
            return try channel.exchange(RuleMessages.list(set, of: table.name), "list \(set) of \(table.name)")
                .flatMap { RuleMessages.elements($0, set: set) }
        } catch {
            if error.errno == ENOENT { return [] }
            throw error
        }
    }
}
