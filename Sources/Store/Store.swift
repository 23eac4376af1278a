// The landing file of this target; it declares nothing.
//
// Store: objects with revisions and watch, one interface (ObjectStore) for SQLite inside and etcd outside.
//
// ObjectStore     the interface: get, list, create, update and delete with an expected revision, watch from a revision.
// SQLiteStore     one file and everything in memory; SQLiteDatabase is the only place that calls the library.
// WatchHub        pure: remembers lately written changes and hands them to bounded queues (StoreWatch).
