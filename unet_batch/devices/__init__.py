"""Devices: one small protocol in front of CUDA, the CPU and a simulated device."""
