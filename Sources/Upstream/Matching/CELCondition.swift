public import CEL

/// A CEL expression of a configuration, compiled: a condition, or a value.
public struct CELCondition: Sendable {
    /// The expression as text; one that came as a message is written out.
    public let text: String
    /// What is evaluated.
    public let program: CELProgram

    /// The value, or why there is none.
    public func evaluate(_ activation: some CELActivation) -> Result<CELValue, CELError> {
        program.evaluate(activation)
    }

    /// Whether it is true.
    ///
    /// What has no value, or one that is not true or false, is false, as in Envoy.
    public func holds(_ activation: some CELActivation) -> Bool {
        if case .success(.bool(true)) = program.evaluate(activation) { true } else { false }
    }

    /// Evaluates it and tells what came out and what it looked at: `"request.path == \"/a\"" is false (request.path = "/b")`.
    public func explain(_ activation: some CELActivation) -> String {
        let trace = CELTrace()
        let outcome =
            switch program.evaluate(CELTracing(activation: activation, trace: trace)) {
            case .success(let value): "is \(value.shown)"
            case .failure(let error): "has no value, which is false: \(error)"
            }
        let seen = trace.seen.isEmpty ? "" : " (\(trace.seen.joined(separator: ", ")))"
        return "\(text) \(outcome)\(seen)"
    }
}

/// RE2 for `matches`.
struct CELRegularExpression: CELPattern {
    let expression: RegularExpression

    static let compiler: CELPatternCompiler = { (pattern: String) throws(CELError) -> any CELPattern in
        do throws(RegularExpressionError) {
            return CELRegularExpression(expression: try RegularExpression(pattern))
        } catch {
            throw .badText(error.description)
        }
    }

    func isFound(in text: String) -> Bool { expression.find(in: Array(text.utf8)) != nil }
}

/// What an evaluation looked at, for explanations.
private final class CELTrace {
    /// Attributes beyond this many are not told.
    private static let seenMax = 16

    private(set) var seen: [String] = []

    func note(_ name: String, _ value: String?) {
        let line = "\(name) \(value.map { "= " + $0 } ?? "is not there")"
        if seen.count < Self.seenMax, !seen.contains(line) { seen.append(line) }
    }
}

private struct CELTracing<Activation: CELActivation>: CELActivation {
    let activation: Activation
    let trace: CELTrace

    func value(_ attribute: CELAttribute) -> CELValue? {
        let value = activation.value(attribute)
        trace.note(attribute.rawValue, value?.shown)
        return value
    }

    func header(_ name: String, _ part: CELHeaders) -> String? {
        let value = activation.header(name, part)
        trace.note("\(CELReference.headers(part).text)['\(name)']", value.map { CELValue.string($0).shown })
        return value
    }

    func headerCount(_ part: CELHeaders) -> Int { activation.headerCount(part) }

    func metadata(_ source: CELMetadata, _ namespace: String) -> CELValue? {
        let value = activation.metadata(source, namespace)
        trace.note("\(CELReference.filterMetadata(source).text)['\(namespace)']", value?.shown)
        return value
    }

    func hasMetadata(_ source: CELMetadata) -> Bool { activation.hasMetadata(source) }

    func filterState(_ key: String, isUpstream: Bool) -> [UInt8]? {
        let value = activation.filterState(key, isUpstream: isUpstream)
        trace.note("filter_state['\(key)']", value.map { CELValue.bytes($0).shown })
        return value
    }

    func gaveUp() { activation.gaveUp() }
}
