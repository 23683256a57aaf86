"""instances: from classes of pixels to numbered objects, alike in validation and in products."""
