/// Why a patch cannot be applied.
public struct PatchError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What is wrong, with the place in the patch.
    public var description: String
    /// An error with that text.
    public init(_ description: String) { self.description = description }
}
