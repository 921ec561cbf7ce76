"""The screening desk: scans in, analyses out, people's decisions and corrections kept."""
