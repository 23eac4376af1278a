internal import HTTP
internal import Serialization

/// What an authorization service said of a request that goes on whatever it said (`shadow_mode`): Envoy's `ShadowDecision`.
struct ShadowDecision {
    /// Envoy's words.
    enum Result: String {
        case ok = "OK"
        case denied = "DENIED"
        case error = "ERROR"
    }

    let result: Result
    /// The status that the client would have got; 200 where the request may pass.
    let status: UInt16
    /// Fields that it would have got.
    var fields: [(name: String, value: String)] = []

    /// As filter state has it.
    var text: String {
        var text = "{\"check_result\":\"\(result.rawValue)\",\"status_code\":\(status)"
        if !fields.isEmpty {
            let list = fields.map { field in
                "{\"key\":\(JSON.string(field.name).text),\"value\":\(JSON.string(field.value).text)}"
            }
            text += ",\"response_headers\":[\(list.joined(separator: ","))]"
        }
        return text + "}"
    }
}
