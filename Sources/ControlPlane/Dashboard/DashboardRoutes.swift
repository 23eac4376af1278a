import Mesh
import Serialization

/// Routes in force for a host as the dashboard shows them: what a route matches, where it leads, and which field of which object made it.
///
/// Pure: `RouteConfiguration`s as JSON in.
enum DashboardRoutes {
    /// Routes of the virtual hosts that answer for a host, in their order: the first that matches wins.
    static func list(_ configurations: [JSON], host: String) -> [JSON] {
        var found: [JSON] = []
        for configuration in configurations {
            for virtualHost in configuration["virtualHosts"]?.array ?? [] where answers(virtualHost, host) {
                for route in virtualHost["routes"]?.array ?? [] {
                    guard found.count < DashboardViews.objectsMax else { return found }
                    let shown: JSON = [
                        "match": .string(match(route["match"] ?? .null)), "action": .string(action(route)),
                        "source": source(route) ?? source(virtualHost) ?? .null,
                    ]
                    // A host has a virtual host for each of its ports; what they share is said once.
                    if !found.contains(shown) { found.append(shown) }
                }
            }
        }
        return found
    }

    private static func answers(_ virtualHost: JSON, _ host: String) -> Bool {
        (virtualHost["domains"]?.array ?? []).compactMap(\.string).contains { $0 == host || $0.hasPrefix("\(host):") }
    }

    private static func source(_ json: JSON) -> JSON? {
        guard let place = json["metadata"]?["filterMetadata"]?[Provenance.metadataKey], place["kind"]?.string != nil
        else { return nil }
        return place
    }

    /// Path, headers, parameters: everything that has to fit.
    private static func match(_ match: JSON) -> String {
        var parts: [String] = []
        if let path = match["path"]?.string { parts.append("path = \(path)") }
        if let prefix = match["prefix"]?.string { parts.append("path \(prefix)*") }
        if let prefix = match["pathSeparatedPrefix"]?.string { parts.append("path \(prefix)/*") }
        if let regex = match["safeRegex"]?["regex"]?.string { parts.append("path ~ \(regex)") }
        if match["connectMatcher"] != nil { parts.append("CONNECT") }
        for header in match["headers"]?.array ?? [] {
            let not = header["invertMatch"]?.bool == true ? "not " : ""
            parts.append("\(not)\(header["name"]?.string ?? "") \(text(header["stringMatch"]) ?? "present")")
        }
        for parameter in match["queryParameters"]?.array ?? [] {
            parts.append("?\(parameter["name"]?.string ?? "") \(text(parameter["stringMatch"]) ?? "present")")
        }
        return parts.joined(separator: ", ")
    }

    private static func text(_ matcher: JSON?) -> String? {
        guard let matcher else { return nil }
        if let exact = matcher["exact"]?.string { return "= \(exact)" }
        if let prefix = matcher["prefix"]?.string { return "= \(prefix)*" }
        if let suffix = matcher["suffix"]?.string { return "= *\(suffix)" }
        if let part = matcher["contains"]?.string { return "= *\(part)*" }
        return matcher["safeRegex"]?["regex"]?.string.map { "~ \($0)" }
    }

    private static func action(_ route: JSON) -> String {
        if let target = route["route"] {
            if let cluster = target["cluster"]?.string { return name(cluster) }
            if let header = target["clusterHeader"]?.string { return "by header \(header)" }
            let weighted = target["weightedClusters"]?["clusters"]?.array ?? []
            let sum = weighted.reduce(0) { $0 + ($1["weight"]?.double ?? 0) }
            return weighted.map { cluster in
                let share = sum > 0 ? (cluster["weight"]?.double ?? 0) / sum * 100 : 0
                return "\(Int(share.rounded())) % \(name(cluster["name"]?.string ?? ""))"
            }.joined(separator: ", ")
        }
        if let redirect = route["redirect"] {
            return "redirect \(redirect["hostRedirect"]?.string ?? "")\(redirect["pathRedirect"]?.string ?? "")"
        }
        if let answer = route["directResponse"] { return "answer \(answer["status"]?.int ?? 0)" }
        return "-"
    }

    /// `outbound|80|v1|reviews.default.svc.cluster.local` as `reviews.default.svc.cluster.local:80 v1`.
    private static func name(_ cluster: String) -> String {
        let parts = cluster.split(separator: "|", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return cluster }
        return "\(parts[3]):\(parts[1])\(parts[2].isEmpty ? "" : " \(parts[2])")"
    }
}
