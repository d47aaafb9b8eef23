    const box = live.querySelector(".study-questions");
    Object.assign(box.dataset, {
      shufflequestions: "False", shuffleanswers: "True", preserveresponses: "false",
      numquestions: "1000", maxwidth: "736",
    });
    box.id = "quiz" + Math.random().toString(36).slice(2);
    show_questions(QUESTIONS, box);
    box.querySelectorAll(".Quiz").forEach((question, index) => {
      const title = question.querySelector('[id^="quizQn"]');
      title.prepend(`${index + 1}. `);
      const answers = question.querySelector(".Answer");
      answers.setAttribute("role", "group");
      answers.setAttribute("aria-labelledby", title.id);
      question.querySelector(".Feedback").setAttribute("aria-live", "polite");
    });
