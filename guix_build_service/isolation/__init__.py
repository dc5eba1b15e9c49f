"""How well this machine keeps people apart, as named levels: `levels` judges, and `machine` finds out what is so."""
