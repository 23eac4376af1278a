/// A text with command operators, laid out for rendering.
///
/// A line is written for every request, so what is walked through are plain values: the literals stand in one run of bytes, and a step that
/// needs more (a field's name, a format of times) has its place in a list, because to copy an operator that holds references is to count them.
final class TextFormat: Sendable {
    private enum Kind: Sendable { case plain, request, response, operation, end }

    /// A literal and the value after it.
    private struct Step: Sendable {
        /// Where the literal before the value ends, in `literals`; it begins where the one before ended.
        let literalEnd: Int
        let kind: Kind
        var plain = FormatOperator.Plain.RESPONSE_CODE
        /// In `fields` or `operations`.
        var index = 0
        /// Of the field that stands in, in `fields`.
        var alternate: Int?
        /// Bytes that the value may have.
        var limit = Limits.formatValueBytes
        /// Whether the value may hold what somebody else wrote.
        var isEscaped = true
    }

    private let literals: [UInt8]
    private let steps: [Step]
    private let fields: [FormatField]
    private let operations: [FormatOperator]

    init(_ pieces: [SubstitutionFormat.Piece]) {
        var literals: [UInt8] = []
        var steps: [Step] = []
        var fields: [FormatField] = []
        var operations: [FormatOperator] = []
        func place(_ header: FormatOperator.Header, _ kind: Kind) -> Step {
            fields.append(header.field)
            var step = Step(literalEnd: literals.count, kind: kind, index: fields.count - 1)
            if let alternate = header.alternate {
                fields.append(alternate)
                step.alternate = fields.count - 1
            }
            return step
        }
        for piece in pieces {
            switch piece {
            case .literal(let literal): literals += literal
            case .command(let operation, let lengthMax):
                var step: Step
                switch operation {
                case .plain(let plain): step = Step(literalEnd: literals.count, kind: .plain, plain: plain)
                case .request(let header): step = place(header, .request)
                case .response(let header): step = place(header, .response)
                default:
                    operations.append(operation)
                    step = Step(literalEnd: literals.count, kind: .operation, index: operations.count - 1)
                }
                step.limit = min(lengthMax ?? .max, Limits.formatValueBytes)
                step.isEscaped = !operation.isNumber && !operation.isStructure && !operation.isOurs
                steps.append(step)
            }
        }
        steps.append(Step(literalEnd: literals.count, kind: .end))
        (self.literals, self.steps, self.fields, self.operations) = (literals, steps, fields, operations)
    }

    /// Appends the text; `otherwise` stands for a value that is missing.
    func append<Context: FormatContext>(
        _ context: Context, _ moment: FormatMoment, otherwise: UInt8?, to bytes: inout [UInt8]
    ) {
        // Where they lie: an element taken out of an array is a copy whose references are counted.
        literals.withUnsafeBufferPointer { literals in
            fields.withUnsafeBufferPointer { fields in
                steps.withUnsafeBufferPointer { steps in
                    var literal = 0
                    for index in steps.indices {
                        let step = steps[index]
                        if step.literalEnd > literal {
                            let text = UnsafeBufferPointer(rebasing: literals[literal..<step.literalEnd])
                            if text.count <= 3 {
                                for byte in text { bytes.append(byte) }
                            } else {
                                bytes.append(contentsOf: text)
                            }
                            literal = step.literalEnd
                        }
                        if step.kind == .end { return }
                        append(step, fields, context, moment, otherwise, to: &bytes)
                    }
                }
            }
        }
    }

    @inline(__always)
    private func append<Context: FormatContext>(
        _ step: Step, _ fields: UnsafeBufferPointer<FormatField>, _ context: Context, _ moment: FormatMoment,
        _ otherwise: UInt8?, to bytes: inout [UInt8]
    ) {
        let start = bytes.count
        var isThere: Bool
        switch step.kind {
        case .end: return
        case .plain: isThere = step.plain.append(context, moment, to: &bytes)
        case .request:
            isThere = context.appendRequestField(fields[step.index], to: &bytes)
            if !isThere, let other = step.alternate {
                isThere = context.appendRequestField(fields[other], to: &bytes)
            }
        case .response:
            isThere = context.appendResponseField(fields[step.index], to: &bytes)
            if !isThere, let other = step.alternate {
                isThere = context.appendResponseField(fields[other], to: &bytes)
            }
        case .operation: isThere = operations[step.index].append(context, moment, to: &bytes)
        }
        guard isThere else {
            if let otherwise { bytes.append(otherwise) }
            return
        }
        if bytes.count - start > step.limit { bytes.removeLast(bytes.count - start - step.limit) }
        if step.isEscaped { LogEscape.text(&bytes, from: start) }
    }
}
