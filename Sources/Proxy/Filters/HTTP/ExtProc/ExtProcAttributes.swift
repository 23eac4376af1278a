internal import CEL
internal import Serialization
internal import Upstream

/// An attribute of a request or response that is sent along: a CEL expression, most often the name of one of Envoy's attributes.
struct ExtProcAttribute: Sendable {
    /// As it was written: the key under which the processor finds it.
    let name: String
    private let condition: CELCondition

    static func list(_ names: [String], at path: String) throws(ConfigurationError) -> [ExtProcAttribute] {
        var attributes: [ExtProcAttribute] = []
        for (index, name) in names.enumerated() {
            attributes.append(
                ExtProcAttribute(name: name, condition: try CELCondition(text: name, at: "\(path)[\(index)]")))
        }
        return attributes
    }

    /// The value; nil where there is none.
    func value(_ stream: HTTPStream) -> JSON? {
        guard case .success(let value) = stream.evaluate(condition) else { return nil }
        return value.json
    }
}
