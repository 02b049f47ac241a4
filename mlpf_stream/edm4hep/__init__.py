"""EDM4HEP files to events: reader and writer by leaf name, elements, truth, candidates."""
