import EnvoyAPI
import Serialization

/// How a patch is laid over a message: fields that are set stand instead, lists grow, messages are merged.
///
/// That is what decoding the two messages one after the other gives. Members of a oneof are replaced as a whole there;
/// those in which patches reach deeper are merged by hand.
enum MessageMerge {
    static func merged<M: Message>(_ base: M, _ patch: M) throws(MessageError) -> M {
        try M(serialized: base.serialized() + patch.serialized())
    }

    /// Messages of one type are merged; another type stands instead.
    static func merged(_ base: AnyMessage, _ patch: AnyMessage) -> AnyMessage {
        guard base.name == patch.name else { return patch }
        return AnyMessage(typeURL: base.typeURL, value: base.value + patch.value)
    }

    static func filter(_ base: Filter, _ patch: Filter) throws(MessageError) -> Filter {
        var result = try Filter(serialized: base.serialized() + patch.serialized())
        if case .typedConfig(let under) = base.configType, case .typedConfig(let over) = patch.configType {
            result.configType = .typedConfig(merged(under, over))
        }
        return result
    }

    static func filter(_ base: HttpFilter, _ patch: HttpFilter) throws(MessageError) -> HttpFilter {
        var result = try HttpFilter(serialized: base.serialized() + patch.serialized())
        if case .typedConfig(let under) = base.configType, case .typedConfig(let over) = patch.configType {
            result.configType = .typedConfig(merged(under, over))
        }
        return result
    }

    static func filter(_ base: ListenerFilter, _ patch: ListenerFilter) throws(MessageError) -> ListenerFilter {
        var result = try ListenerFilter(serialized: base.serialized() + patch.serialized())
        if case .typedConfig(let under) = base.configType, case .typedConfig(let over) = patch.configType {
            result.configType = .typedConfig(merged(under, over))
        }
        return result
    }

    static func route(_ base: Route, _ patch: Route) throws(MessageError) -> Route {
        var result = try Route(serialized: base.serialized() + patch.serialized())
        if case .route(let under) = base.action, case .route(let over) = patch.action {
            result.action = .route(try RouteAction(serialized: under.serialized() + over.serialized()))
        }
        return result
    }

    static func cluster(_ base: Cluster, _ patch: Cluster) throws(MessageError) -> Cluster {
        var result = try Cluster(serialized: base.serialized() + patch.serialized())
        result.transportSocket = socket(base.transportSocket, patch.transportSocket)
        for (name, over) in patch.typedExtensionProtocolOptions {
            guard let under = base.typedExtensionProtocolOptions[name] else { continue }
            result.typedExtensionProtocolOptions[name] = merged(under, over)
        }
        return result
    }

    static func chain(_ base: FilterChain, _ patch: FilterChain) throws(MessageError) -> FilterChain {
        var result = try FilterChain(serialized: base.serialized() + patch.serialized())
        result.transportSocket = socket(base.transportSocket, patch.transportSocket)
        return result
    }

    /// As above, but lists of the patch stand in place of those that were there (`MERGE_AND_REPLACE_LIST`).
    static func replacingLists<M: Message>(_ base: M, _ patch: M) throws(MessageError) -> M {
        try M(json: laidOver(base.json, patch.json))
    }

    private static func laidOver(_ base: JSON, _ patch: JSON) -> JSON {
        guard case .object(var members) = base, case .object(let over) = patch, base["@type"] == patch["@type"] else {
            return patch
        }
        for (name, value) in over { members[name] = members[name].map { laidOver($0, value) } ?? value }
        return .object(members)
    }

    private static func socket(_ base: TransportSocket?, _ patch: TransportSocket?) -> TransportSocket? {
        guard var result = patch else { return base }
        if let base, base.name == result.name, case .typedConfig(let under) = base.configType,
            case .typedConfig(let over) = result.configType
        {
            result.configType = .typedConfig(merged(under, over))
        }
        return result
    }
}
