/// An expression with its names looked up, as it is evaluated.
indirect enum CELNode: Sendable {
    case constant(CELValue)
    /// A variable of a loop, by its place on the stack.
    case local(Int)
    case unknownName(String)
    case attribute(CELAttribute)
    case reference(CELReference)
    /// A member of a root that no vocabulary has.
    case unknownMember(String)
    case header(String, CELHeaders)
    case filterState(String, isUpstream: Bool)
    case select(CELNode, String)
    case has(CELNode, String)
    case index(CELNode, CELNode)
    case all([CELNode])
    case any([CELNode])
    case not(CELNode)
    case choice(CELNode, CELNode, CELNode)
    case notStrictlyFalse(CELNode)
    case equal(CELNode, CELNode)
    case different(CELNode, CELNode)
    case compare(CELComparison, CELNode, CELNode)
    case arithmetic(CELArithmetic, CELNode, CELNode)
    case negative(CELNode)
    case isIn(CELNode, CELNode)
    case list([CELNode])
    case map([(key: CELNode, value: CELNode)])
    case loop(CELLoop)
    case matches(CELNode, any CELPattern)
    case call(CELFunction, [CELNode])
    case library(CELLibrary, [CELNode])
}

/// A loop with its variables on top of the stack: what is gathered, then the element, or place and element.
struct CELLoop: Sendable {
    /// Whether it names the place (of a list the index, of a map the key) besides the element.
    var hasPlaces = false
    var range: CELNode
    var start: CELNode
    var condition: CELNode
    var step: CELNode
    var result: CELNode
}

/// `<` and its like.
enum CELComparison: String, Sendable {
    case less = "_<_"
    case lessOrEqual = "_<=_"
    case greater = "_>_"
    case greaterOrEqual = "_>=_"

    /// Of what is no number nothing holds.
    func holds(_ order: CELOrder?) -> Bool {
        switch self {
        case .less: order == .less
        case .lessOrEqual: order == .less || order == .equal
        case .greater: order == .greater
        case .greaterOrEqual: order == .greater || order == .equal
        }
    }
}

/// `+` and its like.
enum CELArithmetic: String, Sendable {
    case add = "_+_"
    case subtract = "_-_"
    case multiply = "_*_"
    case divide = "_/_"
    case remainder = "_%_"
}

/// A compiled regular expression, from whoever has an engine for them.
public protocol CELPattern: Sendable {
    /// Whether it is found anywhere in a text.
    func isFound(in text: String) -> Bool
    /// Where it is found first, at or behind a place; nil where it is not, and where the engine tells no places.
    func range(in bytes: [UInt8], from start: Int) -> Range<Int>?
}

extension CELPattern {
    /// Of an engine that tells no places: none.
    public func range(in bytes: [UInt8], from start: Int) -> Range<Int>? { nil }
}

/// Compiles a pattern; the error is `CELError.badText`.
public typealias CELPatternCompiler = @Sendable (String) throws(CELError) -> any CELPattern
