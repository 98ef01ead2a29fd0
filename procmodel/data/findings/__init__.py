"""What is wrong with a record: detectors as plain functions of arrays, and the check that runs them all."""
