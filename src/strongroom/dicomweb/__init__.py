"""DICOMweb (PS3.18): search, retrieve, store and render over HTTPS, behind the gate like every other door."""
