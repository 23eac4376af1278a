/// What an expression may be and may cost.
public enum CELLimits {
    /// The longest text, in bytes.
    public static let textBytes = 32_768
    /// The most nodes, after macros are written out.
    public static let nodes = 8192
    /// How deep expressions, lists and calls may be nested.
    public static let nesting = 96
    /// The most steps of one evaluation: a step is one node, one turn of a macro, or 16 bytes that a function reads or writes.
    ///
    /// An expression that needs more ends in the error `CELError.tooExpensive`; who evaluates counts it.
    public static let steps = 100_000
    /// Bytes for each step of a function.
    static let bytesPerStep = 16
    /// What compiling a pattern costs that is known at evaluation only, in steps.
    static let patternSteps = 500
}
