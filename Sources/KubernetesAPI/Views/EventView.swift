internal import Serialization

/// Events of `events.k8s.io/v1`: the same fields as those of the core group under other names.
///
/// Source: Kubernetes API reference, "Event v1 events.k8s.io" and "Event v1 core".
enum EventView {
    static let names: [(view: String, stored: String)] = [
        ("regarding", "involvedObject"), ("note", "message"), ("reportingController", "reportingComponent"),
        ("deprecatedSource", "source"), ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"), ("deprecatedCount", "count"),
    ]

    static func stored(_ json: JSON) -> JSON {
        var result = json
        for (_, stored) in names { result[stored] = nil }
        for (view, stored) in names {
            result[view] = nil
            if let value = json[view] { result[stored] = value }
        }
        return result
    }

    static func shown(_ json: JSON) -> JSON {
        var result = json
        for (_, stored) in names { result[stored] = nil }
        for (view, stored) in names { if let value = json[stored] { result[view] = value } }
        // Kubernetes writes it always, and clients that know the schema read no event without.
        if result["eventTime"] == nil { result["eventTime"] = .null }
        return result
    }

    static func storedField(_ path: String) -> String {
        for (view, stored) in names where path == view || path.hasPrefix(view + ".") {
            return stored + path.dropFirst(view.count)
        }
        return path
    }
}
