"""Viewing: an image and what was made of it, in the browser, straight from the stores.

A small server on this machine hands out the chunks as they are stored; neuroglancer's client, which its
Python package ships, draws them. Nothing is copied or converted.
"""
