internal import EnvoyAPI
internal import Serialization
internal import Upstream

/// Every HTTP filter there is, by type URL.
enum HTTPFilters {
    static let fault = "envoy.extensions.filters.http.fault.v3.HTTPFault"
    static let router = "envoy.extensions.filters.http.router.v3.Router"

    /// The chain before the router, and whether the router leaves `x-envoy-*` headers away.
    static func compile(
        _ filters: [HttpFilter], at path: String
    ) throws(ConfigurationError) -> (filters: [any HTTPFilterConfig], suppressesEnvoyHeaders: Bool) {
        var chain: [any HTTPFilterConfig] = []
        for (index, filter) in filters.enumerated() {
            let here = "\(path)[\(index)]"
            if filter.disabled { continue }
            guard case .typedConfig(let any) = filter.configType else {
                throw ConfigurationError(at: here, "typed_config is needed")
            }
            let isLast = index == filters.count - 1
            switch any.name {
            case router:
                guard isLast else { throw ConfigurationError(at: here, "the router must be the last HTTP filter") }
                let message = try unpack(any, as: EnvoyAPI.Router.self, at: here)
                try FieldCheck.check(
                    message, reads: ["suppress_envoy_headers", "dynamic_stats", "start_child_span"],
                    at: here + ".typed_config")
                return (chain, message.suppressEnvoyHeaders)
            case fault:
                let message = try unpack(any, as: HTTPFault.self, at: here)
                do throws(ConfigurationError) {
                    chain.append(FaultFilterConfig(name: filter.name, policy: try FaultPolicy(compiling: message)))
                } catch {
                    throw ConfigurationError(at: FieldCheck.join(here + ".typed_config", error.path), error.reason)
                }
            case let name where IgnoredProxyFields.filters[name] != nil: continue
            default:
                if filter.isOptional { continue }
                throw ConfigurationError(
                    at: here,
                    "unknown HTTP filter \(any.typeURL.isEmpty ? filter.name : any.typeURL); "
                        + "supported: \(fault), \(router)")
            }
        }
        throw ConfigurationError(at: path, "the last HTTP filter must be the router (\(router))")
    }

    static func unpack<M: Message>(_ any: AnyMessage, as type: M.Type, at path: String) throws(ConfigurationError) -> M
    {
        do throws(MessageError) {
            return try any.unpack(as: type)
        } catch {
            throw ConfigurationError(at: FieldCheck.join(path + ".typed_config", error.path), error.problem)
        }
    }
}
