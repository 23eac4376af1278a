// The landing file of this target; it declares nothing.
//
// Store: objects with revisions and watch, one interface (ObjectStore) for SQLite inside and etcd outside.
//
// ObjectStore     the interface: get, list, create, update and delete with an expected revision, watch from a revision.
// ReplicaStore    what both homes have in common: everything in memory, unsettled writes, who waits. No I/O.
// ResourceTable   the ordered objects of one resource; WatchHub: what lately changed, and who is told (StoreWatch).
// SQLite/         one file: SQLiteStore settles in groups, SQLiteFile checks and migrates, SQLiteDatabase calls the library.
// Etcd/           a cluster that servers share: EtcdLayout says what its keys mean, EtcdLeadership who decides.
// ObjectText      how objects are written down; SecretKey encrypts the Secrets.
//
// docs/stores.md tells operators about both; docs/decisions/0011 why it is done so.
