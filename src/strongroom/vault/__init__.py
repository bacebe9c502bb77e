"""
Sealed blobs in append-only packs.

A *record* is one sealed blob with its sealed label behind it (the *trailer*). A *pack* is a large preallocated file
of records; it is *open* while records are added and *closed* for good once its sealed index stands behind them. A
*lease* is the right to write one long record into a pack of its own while others are appended elsewhere. The vault
holds no key and knows no DICOM.
"""
