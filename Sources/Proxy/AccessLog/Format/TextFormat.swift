internal import HTTP

/// A text with command operators, laid out for rendering.
///
/// A line is written for every request, so what is walked through are plain values: the literals stand in one run of bytes, and a step that
/// needs more (a field's name, a format of times) has its place in a list, because to copy an operator that holds references is to count them.
final class TextFormat: Sendable {
    private enum Kind: Sendable { case number, plain, request, response, startTime, operation, end }

    /// A literal and the value after it.
    private struct Step: Sendable {
        /// Where the literal before the value begins and ends, in `literals`.
        let literalStart: Int
        let literalEnd: Int
        let kind: Kind
        var plain = FormatOperator.Plain.RESPONSE_CODE
        /// Whether the value may hold what somebody else wrote.
        var isEscaped = true
        /// In `fields`, `times` or `operations`.
        var index = 0
        /// Of the field that stands in, in `fields`; below zero for none.
        var alternate = -1
        /// The two fields as far as they are found without their names.
        var place = FormatField.Place()
        var alternatePlace = FormatField.Place()
        /// Bytes that the value may have.
        var limit = Limits.formatValueBytes
    }

    // Written once by `init`, freed with the format, and read where they lie: an array would be counted for every line, and an element taken
    // out of it copied.
    /// With sixteen bytes behind the last literal: short ones are copied in whole words.
    private nonisolated(unsafe) let literals: UnsafeRawBufferPointer
    private nonisolated(unsafe) let steps: UnsafeBufferPointer<Step>
    private nonisolated(unsafe) let fields: UnsafeBufferPointer<FormatField>
    private let times: [TimeFormat]
    private let operations: [FormatOperator]
    /// Whether a field of the request is among the values.
    private let readsRequest: Bool

    init(_ pieces: [SubstitutionFormat.Piece]) {
        var literals: [UInt8] = []
        var steps: [Step] = []
        var fields: [FormatField] = []
        var times: [TimeFormat] = []
        var operations: [FormatOperator] = []
        var literalStart = 0
        func place(_ kind: Kind, index: Int = 0) -> Step {
            defer { literalStart = literals.count }
            return Step(literalStart: literalStart, literalEnd: literals.count, kind: kind, index: index)
        }
        func place(_ header: FormatOperator.Header, _ kind: Kind) -> Step {
            fields.append(header.field)
            var step = place(kind, index: fields.count - 1)
            step.place = header.field.place
            if let alternate = header.alternate {
                fields.append(alternate)
                step.alternate = fields.count - 1
                step.alternatePlace = alternate.place
            }
            return step
        }
        for piece in pieces {
            switch piece {
            case .literal(let literal): literals += literal
            case .command(let operation, let lengthMax):
                var step: Step
                switch operation {
                case .plain(let plain):
                    step = place(plain.isNumber ? .number : .plain)
                    step.plain = plain
                case .request(let header): step = place(header, .request)
                case .response(let header): step = place(header, .response)
                case .startTime(let time):
                    times.append(time)
                    step = place(.startTime, index: times.count - 1)
                default:
                    operations.append(operation)
                    step = place(.operation, index: operations.count - 1)
                }
                step.limit = min(lengthMax ?? .max, Limits.formatValueBytes)
                step.isEscaped = !operation.isNumber && !operation.isStructure && !operation.isOurs
                steps.append(step)
            }
        }
        steps.append(place(.end))
        literals += [UInt8](repeating: 0, count: 16)
        readsRequest = steps.contains { $0.kind == .request }
        self.literals = UnsafeRawBufferPointer(Self.kept(literals))
        self.steps = Self.kept(steps)
        self.fields = Self.kept(fields)
        (self.times, self.operations) = (times, operations)
    }

    /// Memory of its own for what does not change any more.
    private static func kept<Element>(_ elements: [Element]) -> UnsafeBufferPointer<Element> {
        let memory = UnsafeMutableBufferPointer<Element>.allocate(capacity: elements.count)
        _ = memory.initialize(from: elements)
        return UnsafeBufferPointer(memory)
    }

    deinit {
        literals.deallocate()
        steps.deallocate()
        UnsafeMutableBufferPointer(mutating: fields).deinitialize()
        fields.deallocate()
    }

    /// Appends the text; `otherwise` stands for a value that is missing.
    func append<Context: FormatContext>(
        _ context: Context, _ moment: FormatMoment, otherwise: UInt8?, to bytes: inout FormatLine
    ) {
        guard readsRequest else {
            return append(RequestHeadView(unsafe: .none), context, moment, otherwise, to: &bytes)
        }
        // Looked at once for a line, not once for each of its fields.
        context.readRequestFields { append($0, context, moment, otherwise, to: &bytes) }
    }

    private func append<Context: FormatContext>(
        _ request: borrowing RequestHeadView, _ context: Context, _ moment: FormatMoment, _ otherwise: UInt8?,
        to bytes: inout FormatLine
    ) {
        for step in steps {
            if step.literalEnd > step.literalStart {
                bytes.append(padded: literals, step.literalStart..<step.literalEnd)
            }
            let start = bytes.count
            var isThere: Bool
            switch step.kind {
            case .end: return
            case .number: isThere = step.plain.appendNumber(context, moment, to: &bytes)
            case .plain: isThere = step.plain.appendText(context, moment, to: &bytes)
            case .request:
                isThere = append(step.place, step.index, of: request, to: &bytes)
                if !isThere, step.alternate >= 0 {
                    isThere = append(step.alternatePlace, step.alternate, of: request, to: &bytes)
                }
            case .response:
                isThere = context.appendResponseField(fields[step.index], to: &bytes)
                if !isThere, step.alternate >= 0 {
                    isThere = context.appendResponseField(fields[step.alternate], to: &bytes)
                }
            case .startTime:
                isThere = false
                if let wall = context.info.startedWall {
                    times[step.index].append(wall, to: &bytes)
                    isThere = true
                }
            case .operation: isThere = operations[step.index].append(context, moment, to: &bytes)
            }
            guard isThere else {
                if let otherwise { bytes.append(otherwise) }
                continue
            }
            if bytes.count &- start > step.limit { bytes.cut(to: start &+ step.limit) }
            if step.isEscaped { LogEscape.text(&bytes, from: start) }
        }
    }

    /// Appends a field of the request: one whose name is not needed without a reference to it.
    @inline(__always)
    private func append(
        _ place: FormatField.Place, _ index: Int, of request: borrowing RequestHeadView, to bytes: inout FormatLine
    ) -> Bool {
        place.needsName ? request.append(fields[index], to: &bytes) : request.append(place, to: &bytes)
    }
}
