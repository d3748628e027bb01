"""The Spark steps of a night: functions from DataFrame to DataFrame, and jobs that read, call them and write."""
