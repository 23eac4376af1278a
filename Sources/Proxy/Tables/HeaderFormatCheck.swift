internal import EnvoyAPI
internal import Serialization
internal import Upstream

/// Looks at the arguments of command operators in the header formats of a route configuration.
///
/// The route table splits formats and knows the operators' names; what their arguments mean is known here.
enum HeaderFormatCheck {
    static func check(_ message: RouteConfiguration, at path: String) throws(ConfigurationError) {
        try check(message.requestHeadersToAdd, path, "request_headers_to_add")
        try check(message.responseHeadersToAdd, path, "response_headers_to_add")
        for (index, host) in message.virtualHosts.enumerated() {
            let here = FieldCheck.join(path, "virtual_hosts[\(index)]")
            try check(host.requestHeadersToAdd, here, "request_headers_to_add")
            try check(host.responseHeadersToAdd, here, "response_headers_to_add")
            for (index, route) in host.routes.enumerated() {
                let here = "\(here).routes[\(index)]"
                try check(route.requestHeadersToAdd, here, "request_headers_to_add")
                try check(route.responseHeadersToAdd, here, "response_headers_to_add")
                guard case .route(let action) = route.action,
                    case .weightedClusters(let weighted) = action.clusterSpecifier
                else { continue }
                for (index, cluster) in weighted.clusters.enumerated() {
                    let here = "\(here).route.weighted_clusters.clusters[\(index)]"
                    try check(cluster.requestHeadersToAdd, here, "request_headers_to_add")
                    try check(cluster.responseHeadersToAdd, here, "response_headers_to_add")
                }
            }
        }
    }

    private static func check(
        _ options: [HeaderValueOption], _ path: String, _ field: String
    ) throws(ConfigurationError) {
        for (index, option) in options.enumerated() {
            guard let value = option.header?.value, value.utf8.contains(UInt8(ascii: "%")) else { continue }
            _ = try SubstitutionFormat.pieces(
                Array(value.utf8), FieldCheck.join(path, "\(field)[\(index)].header.value"))
        }
    }
}
