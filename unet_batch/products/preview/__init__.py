"""Pictures of images and masks for people: an overlay with scale bar and legend, at any level and box."""
