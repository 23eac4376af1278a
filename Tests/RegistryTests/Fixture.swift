import Serialization
import Store
import Testing

@testable import Registry

/// A registry in memory, with a clock that tests move.
final class Scene {
    let store: any ObjectStore
    let state: RegistryState
    let router: RegistryRouter
    /// Milliseconds since 1970.
    var now: Int64 = 1_800_000_000_000
    private var count: UInt8 = 0

    init(_ store: (any ObjectStore)? = nil, _ change: (inout RegistrySettings) -> Void = { _ in }) throws {
        let store = try store ?? SQLiteStore(path: ":memory:")
        var settings = RegistrySettings(node: "here")
        settings.address = "192.0.2.1"
        change(&settings)
        self.store = store
        state = RegistryState(store, settings)
        router = RegistryRouter(state)
    }

    var moment: RegistryMoment {
        count &+= 1
        return RegistryMoment(milliseconds: now, random: Array(repeating: count, count: 16))
    }

    /// Asks; the path may have a query.
    func ask(
        _ method: String, _ target: String, _ body: JSON? = nil, text: String? = nil,
        may: @escaping (RegistryWish) -> Bool = { _ in true }
    ) -> RegistryAnswer {
        let parts = target.split(separator: "?", maxSplits: 1)
        let query = (parts.count > 1 ? parts[1] : "").split(separator: "&").map { item in
            let pair = item.split(separator: "=", maxSplits: 1)
            return (name: String(pair[0]), value: pair.count > 1 ? String(pair[1]) : "")
        }
        return router.answer(
            RegistryRequest(
                method, String(parts[0]), query: query, body: body?.bytes ?? Array((text ?? "").utf8), may: may), moment
        )
    }

    func get(_ target: String) -> JSON { ask("GET", target).json }

    @discardableResult
    func put(_ target: String, _ body: JSON? = nil, text: String? = nil) -> RegistryAnswer {
        ask("PUT", target, body, text: text)
    }

    func session(_ body: JSON = [:]) -> String { put("session/create", body).json["ID"]?.string ?? "" }

    /// The identifiers of the instances that are well.
    func passing(_ service: String) -> [String] {
        (get("health/service/\(service)?passing").array ?? []).compactMap { $0["Service"]?["ID"]?.string }
    }
}

extension RegistryAnswer {
    var json: JSON { if case .json(let json) = body { json } else { .null } }
    var text: String { if case .text(let text) = body { text } else { "" } }
}
